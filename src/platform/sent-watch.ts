/** Keeps the mark of what was sent, in the database and beside it, and finds at the start that the database is behind. */
import type { Ledger } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import { readSentMark, sentMarkFile, writeSentMark } from './sent-mark.ts';

export interface SentWatch {
  /** Told how many events were sent: before more are, whoever asked for the pass, and after each pass. */
  sent(count: number): Promise<void>;
}

/** While events are sent, the mark rises so often; sends of less than this before a crash are not told by it. */
const RAISED_MS = 1_000;

export interface SentWatchOptions {
  readonly ledger: Ledger;
  readonly runtime: Pick<Runtime, 'now' | 'id'>;
  readonly database: string;
  /** Marks what may have been sent since the backup. */
  readonly restore: () => Promise<unknown>;
}

/** To be opened before anything is recovered or delivered. */
export async function openSentWatch({
  ledger,
  runtime,
  database,
  restore,
}: SentWatchOptions): Promise<SentWatch> {
  const file = sentMarkFile(database);
  const beside = readSentMark(file);
  const own = await ledger.sentMark(runtime.id());
  const isBehind = beside?.ledger === own.ledger && beside.sequence > own.sequence;
  const left = await ledger.restoration();
  if (isBehind || left?.isFinished === false) await restore();
  let atMs = runtime.now();
  let isDue = false;
  const raise = async (beyond?: number): Promise<void> => {
    // The database first: the file must never be ahead of it for any reason but a restored backup.
    writeSentMark(file, await ledger.raiseSentMark(beyond));
  };
  await raise(isBehind ? beside.sequence : 0);
  return {
    async sent(count) {
      isDue ||= count > 0;
      const nowMs = runtime.now();
      if (!isDue || (nowMs >= atMs && nowMs - atMs < RAISED_MS)) return;
      isDue = false;
      atMs = nowMs;
      await raise();
    },
  };
}
