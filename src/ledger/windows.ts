/** When a budget's window began and when it ends. Days, weeks and months are UTC: no daylight saving, ever. */
import type { BudgetSpan } from './accounts-port.ts';

export interface Period {
  readonly startMs: number;
  readonly endMs: number;
}

const MS_A_DAY = 86_400_000;
/** 1970-01-01 was a Thursday: the Monday of its week lies three days before. */
const DAYS_SINCE_MONDAY = 3;

/** The window that `atMs` lies in; `endMs` is null for `total`, which has none. */
export function windowOf(
  span: BudgetSpan,
  atMs: number,
  period: Period | null,
): { readonly startMs: number; readonly endMs: number | null } {
  const day = Math.floor(atMs / MS_A_DAY);
  switch (span) {
    case 'day':
      return { startMs: day * MS_A_DAY, endMs: (day + 1) * MS_A_DAY };
    case 'week': {
      const monday = day - ((day + DAYS_SINCE_MONDAY) % 7);
      return { startMs: monday * MS_A_DAY, endMs: (monday + 7) * MS_A_DAY };
    }
    case 'month':
      return monthOf(atMs);
    case 'period':
      return periodAt(atMs, period);
    case 'total':
      return { startMs: 0, endMs: null };
  }
}

function monthOf(atMs: number): Period {
  const date = new Date(atMs);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  return { startMs: Date.UTC(year, month, 1), endMs: Date.UTC(year, month + 1, 1) };
}

/**
 * The subscription's period; the calendar month while none is known. Past its end the next one has begun whether Stripe has
 * told of it or not; it and those after it are taken to be as long, until Stripe says otherwise. Stripe tells of none after
 * a subscription's last, whose customer may be served on. A period without length has no next.
 */
function periodAt(atMs: number, period: Period | null): Period {
  if (period === null) return monthOf(atMs);
  const { startMs, endMs } = period;
  const lengthMs = endMs - startMs;
  if (atMs < endMs || lengthMs <= 0) return period;
  const beganMs = endMs + Math.floor((atMs - endMs) / lengthMs) * lengthMs;
  return { startMs: beganMs, endMs: beganMs + lengthMs };
}
