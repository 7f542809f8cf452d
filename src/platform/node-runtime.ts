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
  const write = options.write ?? createLineWriter();
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
    after(ms, work) {
      const timer = setTimeout(work, ms);
      return () => clearTimeout(timer);
    },
    log,
  };
}

/** Lines wait this long at most, and go as one write: a write a line costs a call 10 us. */
const GATHER_MS = 20;
const GATHERED_LINES_MAX = 1_000;

/** Writes lines to stderr together; what waits when the process ends is written then. */
function createLineWriter(): (line: string) => void {
  let lines: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (lines.length === 0) return;
    const text = lines.join('');
    lines = [];
    process.stderr.write(text);
  };
  process.once('exit', flush);
  // Whoever reads the log may leave, or its disk fill up. Node would end the process for it, with every call that runs.
  process.stderr.on('error', () => undefined);
  return (line) => {
    lines.push(line);
    if (lines.length >= GATHERED_LINES_MAX) flush();
    else timer ??= setTimeout(flush, GATHER_MS).unref();
  };
}

interface Head {
  readonly ms: number;
  readonly level: LogLevel;
  readonly event: string;
}

/** The head comes first for people's eyes; a field of the same name would stand beside it, so there is none. */
function jsonLine({ ms, level, event }: Head, fields: LogFields): string {
  const rest = JSON.stringify(hasHeadField(fields) ? withoutHeadFields(fields) : fields).slice(1, -1);
  return `{"time":"${isoTime(ms)}","level":"${level}","event":${JSON.stringify(event)}${rest === '' ? '' : `,${rest}`}}\n`;
}

const hasHeadField = (fields: LogFields): boolean =>
  'time' in fields || 'level' in fields || 'event' in fields;

function withoutHeadFields(fields: LogFields): LogFields {
  const { time: _time, level: _level, event: _event, ...own } = fields;
  return own;
}

let isoMs = NaN;
let iso = '';
/** Many lines share a millisecond. */
function isoTime(ms: number): string {
  if (ms !== isoMs) {
    isoMs = ms;
    iso = new Date(ms).toISOString();
  }
  return iso;
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
