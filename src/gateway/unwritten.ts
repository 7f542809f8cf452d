/** Settlements that the ledger could not take when their calls ended: kept in memory, and tried again until it can. */
import type { Runtime } from '../runtime.ts';

export interface Unwritten {
  /** Writes; what fails is kept, logged, and its error passed on. */
  write<T>(callId: string, write: () => Promise<T>): Promise<T>;
  /**
   * Writes what was kept, up to one that fails again: it goes to the end of the line, so that it holds up neither the others
   * nor delivery. Answers how many are still waiting.
   */
  retry(): Promise<number>;
}

/** New calls are refused while the ledger takes nothing, so few arise. What is beyond stays open, for the next start. */
const UNWRITTEN_MAX = 10_000;

export function createUnwritten(runtime: Runtime): Unwritten {
  const kept = new Map<string, () => Promise<unknown>>();
  const logged = (callId: string, error: unknown): void =>
    runtime.log('error', 'settlement_failed', { request_id: callId, error: String(error) });

  return {
    write: (callId, write) =>
      write().catch((error: unknown) => {
        if (kept.size < UNWRITTEN_MAX) kept.set(callId, write);
        logged(callId, error);
        throw error;
      }),

    async retry() {
      for (const [callId, write] of kept) {
        try {
          await write();
        } catch (error) {
          logged(callId, error);
          kept.delete(callId);
          kept.set(callId, write);
          break;
        }
        kept.delete(callId);
        runtime.log('warn', 'settlement_written_late', { request_id: callId });
      }
      return kept.size;
    },
  };
}
