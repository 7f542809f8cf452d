/** Objects of Google's dialect, which takes every name in camelCase and in snake_case. */
import { checkMembers, type JsonRecord } from '../members.ts';
import { listAt, recordAt } from '../reading.ts';
import { isRecord } from '../../../src/usage/json-value.ts';
import { GEMINI_PLACES } from './members.ts';

/** The object with its names in camelCase, every one of them known at that place. */
export function fieldsAt(value: unknown, at: string, place: string): JsonRecord {
  const record = recordAt(value, at);
  const fields = Object.fromEntries(
    Object.entries(record).map(([name, member]) => [
      name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      member,
    ]),
  );
  checkMembers(fields, at, GEMINI_PLACES[place] ?? {});
  return fields;
}

/** A list; the dialect takes one object for a list of it, as its own documents write. */
export const someAt = (value: unknown, at: string): readonly unknown[] =>
  isRecord(value) ? [value] : listAt(value, at);
