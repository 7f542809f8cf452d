/**
 * What becomes of each member of a caller's request that goes to a vendor of another dialect. Every dialect has one
 * table; docs/translation.md shows them as they are here.
 */
import { isRecord } from '../../src/usage/json-value.ts';
import { Untranslatable } from './conversation.ts';

/**
 * `carried`: it is taken over, with a note where it changes on the way. `ignored`: it changes nothing that another vendor could do, for the reason given.
 * `refused`: the request is answered 400, unless the value is one of `unless`, which ask for nothing.
 */
export type Fate =
  | 'carried'
  | { readonly carried: string }
  | { readonly ignored: string }
  | { readonly refused: string; readonly unless?: readonly unknown[] };

export type Members = Readonly<Record<string, Fate>>;

/** A dialect's objects by the place they have in a request; the top level's is empty. */
export type Places = Readonly<Record<string, Members>>;

export type JsonRecord = Readonly<Record<string, unknown>>;

/** An unknown name is the caller's own and may be of any length. */
const SHOWN_LENGTH_MAX = 64;

/** Whether the caller said anything: nothing, `null` and what is empty ask for nothing in every dialect. */
export const isGiven = (value: unknown): boolean =>
  value !== undefined &&
  value !== null &&
  !(Array.isArray(value) && value.length === 0) &&
  !(isRecord(value) && Object.keys(value).length === 0);

/**
 * Sees that every member of an object has a fate, and that none is refused.
 *
 * @throws {Untranslatable} naming the first that has none, or is.
 */
export function checkMembers(record: JsonRecord, at: string, members: Members): void {
  for (const [key, value] of Object.entries(record)) {
    const fate = Object.hasOwn(members, key) ? members[key] : undefined;
    if (fate === 'carried' || !isGiven(value)) continue;
    const name = within(at, key.length > SHOWN_LENGTH_MAX ? `${key.slice(0, SHOWN_LENGTH_MAX)}…` : key);
    if (fate === undefined) throw new Untranslatable(name, 'nothing is known of it in other dialects');
    if ('refused' in fate && !isHarmless(value, fate.unless)) throw new Untranslatable(name, fate.refused);
  }
}

/** The path of a member. */
export const within = (at: string, key: string): string => (at === '' ? key : `${at}.${key}`);

/** Whether the value asks for nothing. */
export const isHarmless = (value: unknown, unless: readonly unknown[] = []): boolean =>
  unless.some((harmless) => JSON.stringify(harmless) === JSON.stringify(value));
