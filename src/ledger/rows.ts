/** Reading a row's values as what the schema says they are. A value of another kind is a broken invariant: it throws. */
import type { Row } from './ledger.ts';

export function textOf(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw new TypeError(`Column ${column} should be text, is ${String(value)}.`);
  return value;
}

/** For counts and times; Postgres answers its 64-bit integers as text. Money stays text. */
export function numberOf(row: Row, column: string): number {
  const value = row[column];
  const number = typeof value === 'string' && value !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number))
    throw new TypeError(`Column ${column} should be a safe integer, is ${String(value)}.`);
  return number;
}

export const textOrNull = (row: Row, column: string): string | null =>
  row[column] === null ? null : textOf(row, column);

export const numberOrNull = (row: Row, column: string): number | null =>
  row[column] === null ? null : numberOf(row, column);

/** A text column that holds one of a few words, written by this program alone. */
export const wordOf = <Word extends string>(row: Row, column: string): Word => textOf(row, column) as Word;

export const wordOrNull = <Word extends string>(row: Row, column: string): Word | null =>
  row[column] === null ? null : wordOf<Word>(row, column);
