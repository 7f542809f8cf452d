/** Writes what one comparison decided. Every step is one batch, and a repeat of it changes nothing. */
import type { Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import type { Verdict } from './reconcile.ts';

export interface CellAt {
  readonly customer: string;
  readonly eventName: string;
  readonly hourMs: number;
  /** What was accepted after that was not looked at. */
  readonly acceptedMs: number;
}
export interface SettledCell {
  readonly confirmed: number;
  readonly delivered: number;
  readonly lost: number;
}

interface Settling {
  readonly ledger: Pick<Ledger, 'mark' | 'resolveEvent' | 'resendAnew' | 'confirmHour'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
}

/**
 * What Stripe has is marked before the hour is confirmed; what it has not is due again, under its own identifier where
 * that is surely unused, else under a new one.
 */
export async function settleCell(
  { ledger, runtime }: Settling,
  cell: CellAt,
  { findings, isConfirmed }: Verdict,
): Promise<SettledCell> {
  const there = findings.filter(({ found }) => found === 'delivered');
  const nowMs = runtime.now();
  if (there.length > 0)
    await ledger.mark(
      there.map(({ identifier }) => ({ identifier, kind: 'duplicate' as const })),
      // By the time that was looked at, so that the hour's confirmation takes them in.
      cell.acceptedMs,
    );
  let lost = 0;
  for (const { identifier, found } of findings) {
    if (found === 'delivered') continue;
    const isDue =
      found === 'lost'
        ? await ledger.resolveEvent(identifier, 'lost', nowMs)
        : await ledger.resendAnew(identifier, nowMs);
    if (isDue) lost += 1;
  }
  for (const { identifier, found } of findings)
    runtime.log('warn', 'meter_event_reconciled', { identifier, customer: cell.customer, found });
  const confirmed = isConfirmed ? await ledger.confirmHour(cell) : 0;
  return { confirmed, delivered: there.length, lost };
}
