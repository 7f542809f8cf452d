/** The runtime in workerd: an isolate's clock, console and `waitUntil`. */
import type { Runtime } from '../runtime.ts';
import { createIds } from './ids.ts';

export function createWorkersRuntime(defer: (work: Promise<unknown>) => void): Runtime {
  return {
    now: Date.now,
    id: createIds(Date.now, (bytes) => crypto.getRandomValues(new Uint8Array(bytes))),
    defer: (work) =>
      defer(work.catch((error: unknown) => log('error', 'deferred_work_failed', { error: String(error) }))),
    after(ms, work) {
      const timer = setTimeout(work, ms);
      return () => clearTimeout(timer);
    },
    log,
  };
}

/** One JSON object a line. */
export const log: Runtime['log'] = (level, event, fields) => {
  const line = JSON.stringify({ ...fields, time: new Date().toISOString(), level, event });
  if (level === 'error') console.error(line);
  else console.log(line);
};
