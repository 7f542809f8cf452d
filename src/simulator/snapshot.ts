/** Keeps the account in a file, so that a sandbox that is restarted has not forgotten its customer. */
import { readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createWorld, type World } from './world.ts';

/** Changes within this time are written together. */
const DEBOUNCE_MS = 100;
/** The file holds the newest so many; 20,000 meter events are about 10 MB of JSON, rewritten at each change. */
const KEPT_MAX = 20_000;
const VERSION = 1;

export interface Snapshot {
  changed(): void;
  /** Writes what is not written yet. Rejects with the last write's error. */
  flush(): Promise<void>;
}

/** The kept account, or a new one where there is no file. Throws for a file that is broken, saying which. */
export function readSnapshot(path: string): World {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return createWorld();
    throw error;
  }
  try {
    return worldOf(JSON.parse(text));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`The simulator's file ${path} cannot be read (${why}). Delete it to start afresh.`, {
      cause: error,
    });
  }
}

/** Writes beside the file and renames, so that a crash leaves the old file or the new one. */
export function createSnapshot(path: string, world: () => World): Snapshot {
  let timer: NodeJS.Timeout | undefined;
  let dirty = false;
  let writing: Promise<void> = Promise.resolve();
  const write = async (): Promise<void> => {
    if (!dirty) return;
    dirty = false;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.new`, textOf(world()));
    await rename(`${path}.new`, path);
  };
  const next = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    writing = writing.then(write, write);
    return writing;
  };
  return {
    changed: () => {
      dirty = true;
      timer ??= setTimeout(() => {
        // A failed write is told by the flush that follows at the latest: the promise is kept.
        next().catch(() => {
          dirty = true;
        });
      }, DEBOUNCE_MS);
    },
    flush: next,
  };
}

const textOf = (world: World): string =>
  JSON.stringify({
    version: VERSION,
    customers: [...world.customers.values()],
    deleted: [...world.deleted],
    meters: [...world.meters.values()],
    accepted: world.accepted.slice(-KEPT_MAX),
    alerts: [...world.alerts.values()],
    alertUsage: [...world.alertUsage],
    fired: [...world.fired],
    grants: [...world.grants.values()],
    applied: [...world.applied],
    subscriptions: [...world.subscriptions.values()],
    invoices: [...world.invoices.values()],
    paymentMethods: [...world.paymentMethods.values()],
    paymentIntents: [...world.paymentIntents.values()],
    sessions: [...world.sessions.values()],
    endpoints: [...world.endpoints.values()],
    events: world.events.slice(-KEPT_MAX),
  });

function worldOf(parsed: unknown): World {
  if (typeof parsed !== 'object' || parsed === null || !('version' in parsed) || parsed.version !== VERSION) {
    throw new Error(`it is not of version ${VERSION}`);
  }
  // The file is this module's own, told by its version; its parts are as `textOf` wrote them.
  const kept = parsed as unknown as {
    [part in keyof World]: World[part] extends Map<string, infer T extends { id: string }> ? T[] : unknown[];
  };
  return {
    customers: byId(kept.customers),
    deleted: new Set(kept.deleted as string[]),
    meters: byId(kept.meters),
    accepted: kept.accepted as World['accepted'],
    alerts: byId(kept.alerts),
    alertUsage: new Map(kept.alertUsage as [string, number][]),
    fired: new Set(kept.fired as string[]),
    grants: byId(kept.grants),
    applied: new Map(kept.applied as [string, number][]),
    // A file from before there were any has none.
    subscriptions: byId(kept.subscriptions ?? []),
    invoices: byId(kept.invoices ?? []),
    paymentMethods: byId(kept.paymentMethods ?? []),
    paymentIntents: byId(kept.paymentIntents ?? []),
    sessions: byId(kept.sessions ?? []),
    endpoints: byId(kept.endpoints),
    events: kept.events as World['events'],
  };
}

const byId = <T extends { id: string }>(items: readonly T[]): Map<string, T> =>
  new Map(items.map((item) => [item.id, item]));
