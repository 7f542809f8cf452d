/**
 * The proof by power loss: every write of a gateway under load is written down, then the disks are made that a loss of
 * power could have left at any moment, and each is opened. Whatever a caller was told before that moment must be on it.
 * A kill cannot show this: what was written and not synced survives the process in the kernel's memory.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { randomNumbers } from '../../src/simulator/faults.ts';
import { callOnce } from './callers.ts';
import { diskAfterLoss, type Disk, readTrace, type TracedChange, traceOptions } from './disk-trace.ts';
import { databaseFile, startGatewayProcess } from './gateway-process.ts';
import { delivered, setScene } from './scene.ts';

export interface PowerLossOptions {
  readonly images: number;
  readonly seed: number;
  readonly calls?: number;
  /** For the proof of the proof: as if the gateway did not wait for the disk, with the log's syncs left out. */
  readonly unsynced?: boolean;
}
export interface PowerLossReport {
  readonly seed: number;
  readonly images: number;
  readonly writes: number;
  readonly syncs: number;
  /** Images on which something a caller or the provider had seen was missing. */
  readonly lost: number;
  /** Images that SQLite could not open, or found damaged. */
  readonly damaged: number;
  /** The first few, in words. */
  readonly examples: readonly string[];
}

/** What somebody outside knew, and when: whole milliseconds, rounded up. */
interface Witness {
  readonly what: 'asked' | 'told';
  readonly responseId: string;
  readonly model: string;
  readonly atMs: number;
}

const LANES = 6;
const EXAMPLES_MAX = 5;
const DELIVERED_MS_MAX = 60_000;

export async function provePowerLoss(options: PowerLossOptions): Promise<PowerLossReport> {
  const { changes, witnesses, file } = await recorded(options.seed, options.calls ?? 60);
  const kept =
    options.unsynced === true
      ? changes.filter((change) => change.kind !== 'sync' || !change.file.endsWith('-wal'))
      : changes;
  const random = randomNumbers(options.seed);
  const directory = mkdtempSync(join(tmpdir(), 'faregate-power-'));
  const examples: string[] = [];
  let lost = 0;
  let damaged = 0;
  for (let image = 0; image < options.images; image += 1) {
    const until = Math.floor(random() * (kept.length + 1));
    const disk = diskAfterLoss(kept, until, random);
    const verdict = judged(disk, { file, directory, known: knownBefore(witnesses, kept[until]) });
    if (verdict === undefined) continue;
    if (verdict.kind === 'lost') lost += 1;
    else damaged += 1;
    if (examples.length < EXAMPLES_MAX)
      examples.push(`image ${image}, before write ${until}: ${verdict.what}`);
  }
  rmSync(directory, { recursive: true });
  const syncs = changes.filter(({ kind }) => kind === 'sync').length;
  return {
    seed: options.seed,
    images: options.images,
    writes: changes.length - syncs,
    syncs,
    lost,
    damaged,
    examples,
  };
}

/** A life of the gateway under load, with delivery, written down. */
async function recorded(
  seed: number,
  calls: number,
): Promise<{ changes: readonly TracedChange[]; witnesses: readonly Witness[]; file: string }> {
  const scene = await setScene(seed);
  const traces = mkdtempSync(join(tmpdir(), 'faregate-trace-'));
  const prefix = join(traces, 'disk');
  const gateway = startGatewayProcess({ ...scene.place, strace: traceOptions(prefix) });
  const url = (await gateway.ready) ?? '';
  const told = new Map<string, number>();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < calls) {
      const tag = `p${(next += 1)}`;
      const customer = scene.customers[next % scene.customers.length] ?? '';
      const { complete } = await callOnce(url, tag, customer);
      if (complete) told.set(tag, Date.now() + 1);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const waiting = await delivered(url, DELIVERED_MS_MAX);
  gateway.kill('SIGKILL');
  await gateway.ended;
  if (waiting !== undefined) throw new Error(waiting);
  const witnesses = scene.upstream.served.flatMap(({ tag, model, responseId, seenAtMs }): Witness[] => {
    const call = { responseId, model: `openai/${model}` };
    const toldAtMs = told.get(tag);
    const asked: Witness = { ...call, what: 'asked', atMs: seenAtMs + 1 };
    return toldAtMs === undefined ? [asked] : [asked, { ...call, what: 'told', atMs: toldAtMs }];
  });
  const file = databaseFile(scene.place);
  const changes = readTrace(prefix, file);
  await scene.close();
  rmSync(traces, { recursive: true });
  if (changes.length === 0 || told.size < calls) throw new Error('Nothing was recorded, or a call failed.');
  return { changes, witnesses, file };
}

/** Before the change at which the power went. */
const knownBefore = (witnesses: readonly Witness[], change: TracedChange | undefined): readonly Witness[] =>
  witnesses.filter(({ atMs }) => atMs <= (change?.beganAtMs ?? Infinity));

function judged(
  disk: Disk,
  { file, directory, known }: { file: string; directory: string; known: readonly Witness[] },
): { readonly kind: 'lost' | 'damaged'; readonly what: string } | undefined {
  const at = (path: string): string => join(directory, basename(path));
  for (const path of [file, `${file}-wal`, `${file}-journal`, `${file}-shm`])
    rmSync(at(path), { force: true });
  for (const [path, bytes] of disk) writeFileSync(at(path), bytes);
  try {
    const database = new DatabaseSync(at(file));
    try {
      return verdictOn(database, known);
    } finally {
      database.close();
    }
  } catch (error) {
    return { kind: 'damaged', what: String(error) };
  }
}

function verdictOn(
  database: DatabaseSync,
  known: readonly Witness[],
): { readonly kind: 'lost' | 'damaged'; readonly what: string } | undefined {
  const check = database.prepare('PRAGMA integrity_check').get()?.['integrity_check'];
  if (check !== 'ok') return { kind: 'damaged', what: String(check) };
  if (known.length === 0) return undefined;
  const table = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'calls'").get();
  if (table === undefined) return { kind: 'lost', what: 'there is not even a table of calls' };
  const opened = database.prepare('SELECT 1 FROM calls WHERE model = ?');
  const settled = database.prepare(
    'SELECT 1 FROM calls WHERE response_id = ? AND ended_at_ms IS NOT NULL AND tokens > 0',
  );
  const missing = known.find(({ what, model, responseId }) =>
    what === 'asked' ? opened.get(model) === undefined : settled.get(responseId) === undefined,
  );
  return missing === undefined
    ? undefined
    : { kind: 'lost', what: `${missing.responseId} was ${missing.what} and is not on the disk` };
}
