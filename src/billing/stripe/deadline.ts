/** An end to waiting. The SDK's own timeout counts idle time only, and not the time it takes to connect. */

export class DeadlinePassed extends Error {
  override readonly name = 'DeadlinePassed';
}

/** A signal that aborts so many milliseconds from now. */
export type Deadline = (ms: number) => AbortSignal;

export const realDeadline: Deadline = (ms) => AbortSignal.timeout(ms);

/** The work's outcome, or `DeadlinePassed` if the signal aborts first. The work goes on; what it answers then is dropped. */
export function within<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => {
      reject(new DeadlinePassed('no answer in time'));
    };
    if (signal.aborted) late();
    else signal.addEventListener('abort', late, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', late);
    });
  });
}
