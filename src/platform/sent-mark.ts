/**
 * The mark of what was sent, in a file beside the database: it is not part of a backup of the database, so a database
 * that is behind it was restored.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { SentMark } from '../ledger/restore.ts';

export const sentMarkFile = (database: string): string => `${database}.sent.json`;

/** Undefined where there is none. Throws for a file that cannot be read: to go on would be to guess. */
export function readSentMark(file: string): SentMark | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const { ledger, sequence } = parsed(text, file);
  if (typeof ledger === 'string' && typeof sequence === 'number') return { ledger, sequence };
  throw unreadable(file, 'ledger and sequence are missing');
}

/** Replaced as a whole, so that a crash leaves the old one or the new one. */
export function writeSentMark(file: string, { ledger, sequence }: SentMark): void {
  writeFileSync(`${file}.new`, `${JSON.stringify({ ledger, sequence })}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

function parsed(text: string, file: string): { ledger?: unknown; sequence?: unknown } {
  try {
    return (JSON.parse(text) ?? {}) as { ledger?: unknown; sequence?: unknown };
  } catch (error) {
    throw unreadable(file, String(error));
  }
}

const unreadable = (file: string, why: string): Error =>
  new Error(
    `${file} cannot be read (${why}). It tells whether the database was restored from a backup: if it was, run "faregate restore"; then remove the file.`,
  );
