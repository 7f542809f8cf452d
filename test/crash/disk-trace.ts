/**
 * What a gateway did to its database's files, as strace wrote it down, and the disks that a power loss could have left of
 * it: of what was not synced, any write may be there, be gone, or be torn between two sectors.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export type Change =
  | { readonly kind: 'write'; readonly file: string; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'sync'; readonly file: string }
  | { readonly kind: 'truncate'; readonly file: string; readonly length: number }
  | { readonly kind: 'unlink'; readonly file: string };
/** A change, and when it began: milliseconds since 1970, with their fraction. */
export type TracedChange = Change & { readonly beganAtMs: number };

/** A file's content by name. */
export type Disk = ReadonlyMap<string, Uint8Array>;

const SECTOR_BYTES = 512;

/** The options of strace under which it writes what `readTrace` reads: a file for each thread, every byte in hex. */
export const traceOptions = (prefix: string): readonly string[] =>
  `-D -ff -qq -y -xx -ttt -s 1048576 -e trace=pwrite64,fsync,fdatasync,ftruncate,unlink -o ${prefix}`.split(
    ' ',
  );

/** The changes to `file` and its companions (journal and log), in the order in which they began. */
export function readTrace(prefix: string, file: string): readonly TracedChange[] {
  const directory = dirname(prefix);
  return readdirSync(directory)
    .filter((name) => name.startsWith(`${basename(prefix)}.`))
    .flatMap((name) => readFileSync(join(directory, name), 'latin1').split('\n'))
    .flatMap((line) => changeOf(line) ?? [])
    .filter(
      (change) => change.file === file || change.file === `${file}-wal` || change.file === `${file}-journal`,
    )
    .toSorted((a, b) => a.beganAtMs - b.beganAtMs);
}

const WRITE = /^([\d.]+) pwrite64\(\d+<([^>]*)>, "([^"]*)", \d+, (\d+)\) += (\d+)/;
const SYNC = /^([\d.]+) f(?:data)?sync\(\d+<([^>]*)>\) += 0/;
const TRUNCATE = /^([\d.]+) ftruncate\(\d+<([^>]*)>, (\d+)\) += 0/;
const UNLINK = /^([\d.]+) unlink\("([^"]*)"\) += 0/;

function changeOf(line: string): TracedChange | undefined {
  const write = WRITE.exec(line);
  if (write !== null)
    return {
      kind: 'write',
      beganAtMs: Number(write[1]) * 1000,
      file: pathOf(write[2]),
      bytes: unescaped(write[3] ?? '').subarray(0, Number(write[5])),
      at: Number(write[4]),
    };
  const sync = SYNC.exec(line);
  if (sync !== null) return { kind: 'sync', beganAtMs: Number(sync[1]) * 1000, file: pathOf(sync[2]) };
  const truncate = TRUNCATE.exec(line);
  if (truncate !== null)
    return {
      kind: 'truncate',
      beganAtMs: Number(truncate[1]) * 1000,
      file: pathOf(truncate[2]),
      length: Number(truncate[3]),
    };
  const unlink = UNLINK.exec(line);
  if (unlink !== null)
    return { kind: 'unlink', beganAtMs: Number(unlink[1]) * 1000, file: pathOf(unlink[2]) };
  return undefined;
}

/** Every byte stands as `\x2f`, in paths too. */
const unescaped = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replaceAll('\\x', ''), 'hex'));
const pathOf = (text = ''): string =>
  text.startsWith('\\x') ? Buffer.from(unescaped(text)).toString() : text;

/** What a disk could hold if the power went before `changes[until]`: the synced, and by lot some of the rest. */
export function diskAfterLoss(changes: readonly TracedChange[], until: number, random: () => number): Disk {
  const durable = new Map<string, Uint8Array>();
  const waiting: TracedChange[] = [];
  const settle = (change: TracedChange): void => void applyChange(durable, change);
  for (const change of changes.slice(0, until)) {
    // SQLite syncs the directory after it unlinks, so names are taken as safe.
    if (change.kind === 'unlink') {
      settle(change);
    } else if (change.kind === 'sync') {
      for (let index = 0; index < waiting.length;)
        if (waiting[index]?.file === change.file) waiting.splice(index, 1).forEach(settle);
        else index += 1;
    } else {
      waiting.push(change);
    }
  }
  for (const change of waiting) {
    const lot = random();
    if (lot < 1 / 3) settle(change);
    else if (lot < 2 / 3 && change.kind === 'write') settle(torn(change, random));
  }
  return durable;
}

/** The first sectors of a write, or its last ones. */
function torn(change: TracedChange & { kind: 'write' }, random: () => number): TracedChange {
  const cut = Math.floor((random() * change.bytes.length) / SECTOR_BYTES) * SECTOR_BYTES;
  return random() < 0.5
    ? { ...change, bytes: change.bytes.subarray(0, cut) }
    : { ...change, bytes: change.bytes.subarray(cut), at: change.at + cut };
}

function applyChange(disk: Map<string, Uint8Array>, change: Change): void {
  const old = disk.get(change.file) ?? new Uint8Array();
  switch (change.kind) {
    case 'write': {
      const length = Math.max(old.length, change.at + change.bytes.length);
      // Files only grow by pages, so this copies seldom enough.
      const next = length === old.length ? old : resized(old, length);
      next.set(change.bytes, change.at);
      disk.set(change.file, next);
      break;
    }
    case 'truncate':
      disk.set(change.file, resized(old, change.length));
      break;
    case 'unlink':
      disk.delete(change.file);
      break;
    case 'sync':
      break;
  }
}

function resized(bytes: Uint8Array, length: number): Uint8Array {
  const next = new Uint8Array(length);
  next.set(bytes.subarray(0, length));
  return next;
}
