/** Objects of Google's dialect, which takes every name in camelCase and in snake_case. */
import { checkMembers, type JsonRecord } from '../members.ts';
import { recordAt } from '../reading.ts';
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
