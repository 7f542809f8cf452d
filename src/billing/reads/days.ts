/** V8 takes the 31st of November for the 1st of December: whether the day that a text begins with is in the calendar. */
export function isDay(text: string): boolean {
  const [, day] = /^(\d{4}-\d\d-\d\d)/.exec(text) ?? [];
  if (day === undefined) return true;
  const midnight = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day);
}
