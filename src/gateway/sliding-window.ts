/**
 * A sum over the last minute, in slots of a second. What was added counts for 60 s at the least and 61 s at the most, so
 * a limit on the sum holds in every minute there is, wherever it begins.
 */

export const SLOT_MS = 1_000;
/** The second that is running, and the 60 before it. */
const SLOTS = 61;

export interface SlidingWindow {
  sum(nowMs: number): number;
  add(amount: number, nowMs: number): void;
  /** Takes back what was added at that time, unless it has left the window since. */
  retract(amount: number, addedAtMs: number): void;
  /** Milliseconds until the sum is at most `allowed`; 0 when it is already. */
  untilAtMost(allowed: number, nowMs: number): number;
}

/** About 1 KB. Amounts in the future, as after a clock was set back, are not counted. */
export function createSlidingWindow(): SlidingWindow {
  const amounts = new Float64Array(SLOTS);
  const slots = new Float64Array(SLOTS).fill(-Infinity);
  const counts = (index: number, now: number): boolean => {
    const slot = slots[index] ?? -Infinity;
    return slot <= now && slot > now - SLOTS;
  };

  const sum = (nowMs: number): number => {
    const now = slotOf(nowMs);
    let total = 0;
    for (let index = 0; index < SLOTS; index += 1) if (counts(index, now)) total += amounts[index] ?? 0;
    return total;
  };
  return {
    sum,
    add(amount, nowMs) {
      const now = slotOf(nowMs);
      const index = now % SLOTS;
      amounts[index] = (slots[index] === now ? (amounts[index] ?? 0) : 0) + amount;
      slots[index] = now;
    },
    retract(amount, addedAtMs) {
      const slot = slotOf(addedAtMs);
      const index = slot % SLOTS;
      if (slots[index] === slot) amounts[index] = (amounts[index] ?? 0) - amount;
    },
    untilAtMost(allowed, nowMs) {
      let left = sum(nowMs);
      const now = slotOf(nowMs);
      for (let slot = now - SLOTS + 1; slot <= now; slot += 1) {
        if (left <= allowed) return Math.max(0, (slot - 1 + SLOTS) * SLOT_MS - nowMs);
        const index = ((slot % SLOTS) + SLOTS) % SLOTS;
        if (slots[index] === slot) left -= amounts[index] ?? 0;
      }
      return left <= allowed ? (now + SLOTS) * SLOT_MS - nowMs : Infinity;
    },
  };
}

const slotOf = (ms: number): number => Math.floor(ms / SLOT_MS);
