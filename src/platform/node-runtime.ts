/** The machine as Node gives it: its clock, identifiers, and a log on stderr. */
import type { LogFields, LogLevel, Runtime } from '../runtime.ts';
import { createIds } from './ids.ts';

export interface NodeRuntimeOptions {
  /** One JSON object a line; otherwise text for a person. */
  readonly json: boolean;
  /** For tests: where lines go, stderr by default. */
  readonly write?: (line: string) => void;
  /** For tests: the clock. */
  readonly now?: () => number;
}

export function createNodeRuntime(options: NodeRuntimeOptions): Runtime {
  const now = options.now ?? Date.now;
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const format = options.json ? jsonLine : prettyLine;
  const log: Runtime['log'] = (level, event, fields = {}) =>
    write(format({ ms: now(), level, event }, fields));
  return {
    now,
    id: createIds(now),
    // Node stays alive for as long as work has something open; what is left to do is to see its failure.
    defer(work) {
      work.catch((error: unknown) => log('error', 'deferred_work_failed', { error: errorText(error) }));
    },
    log,
  };
}

interface Head {
  readonly ms: number;
  readonly level: LogLevel;
  readonly event: string;
}

/** The head comes first for people's eyes, and last so that no field can take its place. */
function jsonLine({ ms, level, event }: Head, fields: LogFields): string {
  const head = { time: new Date(ms).toISOString(), level, event };
  return `${JSON.stringify({ ...head, ...fields, ...head })}\n`;
}

function prettyLine({ ms, level, event }: Head, fields: LogFields): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(
      ([name, value]) =>
        `${name}=${typeof value === 'string' && /\s|"/.test(value) ? JSON.stringify(value) : String(value)}`,
    );
  const time = new Date(ms).toISOString().slice(11, 23);
  return `${[time, level.padEnd(5), event, ...pairs].join(' ')}\n`;
}

const errorText = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error);
