/**
 * Stripe's v1 form encoding: `payload[value]=1`, `filters[0][type]=customer`, `enabled_events[]=*`. Values stay text.
 */
import { StripeFailure } from './http.ts';

/** A decoded body or query: text, lists and maps of the same. Maps have no prototype, so no key is special. */
export type FormValue = string | FormValue[] | { [key: string]: FormValue };
export type FormMap = { [key: string]: FormValue };

/** Pairs one request may hold; a meter event has about ten. */
const PAIRS_MAX = 1_000;
/** Brackets one key may nest; Stripe's own parameters reach five. */
const DEPTH_MAX = 8;

/** Throws a 400 `StripeFailure` for a key that is malformed, too deep, or both a value and a map. */
export function decodeForm(text: string): FormMap {
  const root = emptyMap();
  let pairs = 0;
  for (const [key, value] of new URLSearchParams(text)) {
    pairs += 1;
    if (pairs > PAIRS_MAX) throw invalidForm('Too many parameters.');
    place(root, keyPath(key), value);
  }
  return listsOf(root) as FormMap;
}

function keyPath(key: string): string[] {
  const match = /^([^[\]]+)((?:\[[^[\]]*\])*)$/.exec(key);
  if (match?.[1] === undefined) throw invalidForm(`Invalid parameter name: ${key}`);
  const rest = [...(match[2] ?? '').matchAll(/\[([^[\]]*)\]/g)].map((part) => part[1] ?? '');
  if (rest.length > DEPTH_MAX) throw invalidForm(`Parameter nested too deeply: ${key}`);
  return [match[1], ...rest];
}

function place(root: FormMap, path: readonly string[], value: string): void {
  let map = root;
  for (const [index, part] of path.entries()) {
    const name = part === '' ? String(Object.keys(map).length) : part;
    if (index === path.length - 1) {
      if (typeof map[name] === 'object') throw invalidForm(`Invalid parameter: ${path.join('.')}`);
      map[name] = value;
      return;
    }
    const next = map[name] ?? emptyMap();
    if (typeof next === 'string' || Array.isArray(next)) {
      throw invalidForm(`Invalid parameter: ${path.join('.')}`);
    }
    map[name] = next;
    map = next;
  }
}

/** Maps whose keys are 0, 1, 2, … become lists, as Stripe reads them. */
function listsOf(value: FormValue): FormValue {
  if (typeof value === 'string' || Array.isArray(value)) return value;
  const keys = Object.keys(value);
  if (keys.length > 0 && keys.every((key, index) => key === String(index))) {
    return Object.values(value).map(listsOf);
  }
  for (const key of keys) {
    const inner = value[key];
    if (inner !== undefined) value[key] = listsOf(inner);
  }
  return value;
}

const emptyMap = (): FormMap => Object.create(null) as FormMap;

const invalidForm = (message: string): StripeFailure =>
  new StripeFailure({ status: 400, type: 'invalid_request_error', message });
