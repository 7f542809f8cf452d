/**
 * The strict scanner of a JSON object's top level: finds each member's value by byte offset, so that the gateway can
 * replace `model` and nothing else. Refuses what two parsers might read differently.
 *
 * The whole text is validated (RFC 8259, with UTF-8 as section 8.1 demands), once, byte by byte: the cost is linear and
 * the nesting is a counter, so a hostile body buys neither time nor stack. No object, at any depth, may have a key twice.
 */
import { createOpenKeys, type OpenKeys } from './json-keys.ts';

export interface JsonMember {
  /** The decoded key. */
  readonly key: string;
  /** Byte offset of the key's opening quote. */
  readonly keyStart: number;
  /** Byte offsets of the value, end exclusive. */
  readonly start: number;
  readonly end: number;
}

export interface JsonObjectScan {
  readonly members: ReadonlyMap<string, JsonMember>;
  /** Offset just past the opening brace: where a member can be inserted. */
  readonly insertAt: number;
}

export type JsonProblemKind =
  | 'not_json'
  | 'not_utf8'
  | 'byte_order_mark'
  | 'not_an_object'
  | 'too_deep'
  | 'too_many_members'
  | 'duplicate_key'
  | 'lookalike_key';

export interface JsonProblem {
  readonly kind: JsonProblemKind;
  /** Where in the bytes the problem was met. */
  readonly offset: number;
  /** One sentence for whoever sent the text. Names a key, never a value. */
  readonly message: string;
}

export type JsonScanResult = ({ readonly kind: 'object' } & JsonObjectScan) | JsonProblem;

/** Nested objects and arrays, the outermost counted. Enough for any tool schema; parsers' own limits begin at about 100. */
export const JSON_DEPTH_MAX = 64;
/** Top-level members. The richest dialect has about 40; the limit keeps a hostile body from filling a map. */
export const JSON_MEMBERS_MAX = 1000;

/** Validates `bytes` as one JSON object and answers where its members' values lie, or why it is refused. */
export function scanJsonObject(bytes: Uint8Array): JsonScanResult {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    return problem('byte_order_mark', 0, 'The JSON begins with a byte order mark; send it without.');
  }
  let at = skipSpace(bytes, 0);
  if (bytes[at] !== OPEN_BRACE) return problem('not_an_object', at, 'The body is not a JSON object.');
  const members = new Map<string, JsonMember>();
  const containers = new Uint8Array(JSON_DEPTH_MAX + 1);
  const keys = createOpenKeys(bytes, quotedText);
  const insertAt = at + 1;
  at = skipSpace(bytes, insertAt);
  let open = bytes[at] !== CLOSE_BRACE;
  while (open) {
    const keyStart = at;
    const start = scanKey(bytes, at);
    if (start < 0) return brokenAt(start, bytes);
    const end = scanValue(bytes, start, { containers, keys });
    if (end < 0) return brokenAt(end, bytes);
    const key = decodeKey(bytes, keyStart, start);
    const wrong = checkKey(key, members, keyStart);
    if (wrong !== undefined) return wrong;
    members.set(key, { key, keyStart, start, end });
    at = skipSpace(bytes, end);
    open = bytes[at] === COMMA;
    if (open) at = skipSpace(bytes, at + 1);
    else if (bytes[at] !== CLOSE_BRACE) return brokenAt(broken(at, NOT_JSON), bytes);
  }
  at = skipSpace(bytes, at + 1);
  if (at < bytes.length)
    return problem('not_json', at, `There is more after the JSON object, at byte ${at}.`);
  return { kind: 'object', members, insertAt };
}

/** The text of a member's value, as it stands in the bytes that were scanned. */
export const memberText = (bytes: Uint8Array, member: JsonMember): string =>
  decoder.decode(bytes.subarray(member.start, member.end));

/** A member's value; undefined when the object has no such member. */
export function memberValue(bytes: Uint8Array, scan: JsonObjectScan, key: string): unknown {
  const member = scan.members.get(key);
  return member === undefined ? undefined : JSON.parse(memberText(bytes, member));
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** 1 for the bytes a string may hold as they are and that stand for themselves: printable ASCII but `"` and `\`. */
const PLAIN = new Uint8Array(256);
for (let byte = 0x20; byte < 0x80; byte += 1) PLAIN[byte] = byte === QUOTE || byte === BACKSLASH ? 0 : 1;

// The scanning functions answer the offset after what they read; a negative number carries the offset and the kind of
// a failure instead, so that the hot path allocates nothing.
const NOT_JSON = 0;
const NOT_UTF8 = 1;
const TOO_DEEP = 2;
const TWICE = 3;
const broken = (offset: number, why: number): number => -(offset * 4 + why) - 1;

function brokenAt(failure: number, bytes: Uint8Array): JsonProblem {
  const code = -failure - 1;
  const offset = code >> 2;
  switch (code & 3) {
    case NOT_UTF8:
      return problem('not_utf8', offset, `The JSON is not valid UTF-8 at byte ${offset}.`);
    case TOO_DEEP:
      return problem('too_deep', offset, `The JSON nests deeper than ${JSON_DEPTH_MAX} at byte ${offset}.`);
    case TWICE:
      return twice(quotedText(bytes, offset, scanString(bytes, offset)), offset);
    default:
      return problem('not_json', offset, `The body is not valid JSON at byte ${offset}.`);
  }
}

const problem = (kind: JsonProblemKind, offset: number, message: string): JsonProblem => ({
  kind,
  offset,
  message,
});

const twice = (key: string, offset: number): JsonProblem =>
  problem('duplicate_key', offset, `The key ${shown(key)} is given twice, at byte ${offset}.`);

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  for (;;) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    at += 1;
  }
}

/** From a key's opening quote to the first byte of its value. */
function scanKey(bytes: Uint8Array, from: number, keys?: OpenKeys): number {
  if (bytes[from] !== QUOTE) return broken(from, NOT_JSON);
  const end = scanString(bytes, from);
  if (end < 0) return end;
  if (keys?.isTwice(from, end) === true) return broken(from, TWICE);
  const colon = skipSpace(bytes, end);
  return bytes[colon] === COLON ? skipSpace(bytes, colon + 1) : broken(colon, NOT_JSON);
}

/** What is open, by depth, and the keys of what is an object. */
interface Open {
  readonly containers: Uint8Array;
  readonly keys: OpenKeys;
}

/** One whole value of the top level, however deep. */
function scanValue(bytes: Uint8Array, from: number, { containers, keys }: Open): number {
  let at = from;
  let depth = 1;
  for (;;) {
    const first = bytes[at];
    if (first === OPEN_BRACE || first === OPEN_BRACKET) {
      depth += 1;
      if (depth > JSON_DEPTH_MAX) return broken(at, TOO_DEEP);
      containers[depth] = first;
      if (first === OPEN_BRACE) keys.open();
      at = skipSpace(bytes, at + 1);
      if (bytes[at] !== first + 2) {
        if (first === OPEN_BRACE) at = scanKey(bytes, at, keys);
        if (at < 0) return at;
        continue;
      }
    } else {
      at = scanScalar(bytes, at, first);
      if (at < 0 || depth === 1) return at;
      at = skipSpace(bytes, at);
    }
    // After a value: in ASCII a closing brace or bracket stands two past its opening one.
    while (depth > 1 && bytes[at] === (containers[depth] ?? 0) + 2) {
      if (containers[depth] === OPEN_BRACE) keys.close();
      depth -= 1;
      at += 1;
      if (depth === 1) return at;
      at = skipSpace(bytes, at);
    }
    if (bytes[at] !== COMMA) return broken(at, NOT_JSON);
    at = skipSpace(bytes, at + 1);
    if (containers[depth] === OPEN_BRACE) at = scanKey(bytes, at, keys);
    if (at < 0) return at;
  }
}

function scanScalar(bytes: Uint8Array, at: number, first: number | undefined): number {
  if (first === QUOTE) return scanString(bytes, at);
  if (first === 0x74) return scanWord(bytes, at, TRUE);
  if (first === 0x66) return scanWord(bytes, at, FALSE);
  if (first === 0x6e) return scanWord(bytes, at, NULL);
  return scanNumber(bytes, at);
}

const word = (text: string): Uint8Array => new TextEncoder().encode(text);
const TRUE = word('true');
const FALSE = word('false');
const NULL = word('null');

function scanWord(bytes: Uint8Array, from: number, letters: Uint8Array): number {
  for (let index = 1; index < letters.length; index += 1) {
    if (bytes[from + index] !== letters[index]) return broken(from + index, NOT_JSON);
  }
  return from + letters.length;
}

function scanNumber(bytes: Uint8Array, from: number): number {
  let at = bytes[from] === MINUS ? from + 1 : from;
  if (bytes[at] === ZERO) at += 1;
  else at = scanDigits(bytes, at);
  if (at >= 0 && bytes[at] === DOT) at = scanDigits(bytes, at + 1);
  if (at >= 0 && (bytes[at] === 0x65 || bytes[at] === 0x45)) {
    const sign = bytes[at + 1];
    at = scanDigits(bytes, sign === MINUS || sign === 0x2b ? at + 2 : at + 1);
  }
  return at;
}

/** One digit or more. */
function scanDigits(bytes: Uint8Array, from: number): number {
  let at = from;
  for (;;) {
    const byte = bytes[at];
    if (byte === undefined || byte < ZERO || byte > 0x39) break;
    at += 1;
  }
  return at > from ? at : broken(from, NOT_JSON);
}

function scanString(bytes: Uint8Array, quote: number): number {
  let at = quote + 1;
  for (;;) {
    while (PLAIN[bytes[at] ?? 0] === 1) at += 1;
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) at = scanEscape(bytes, at);
    else if (byte !== undefined && byte >= 0x80) at = scanSequence(bytes, at, byte);
    else return broken(at, NOT_JSON);
    if (at < 0) return at;
  }
}

function scanEscape(bytes: Uint8Array, backslash: number): number {
  const at = backslash + 1;
  switch (bytes[at]) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return at + 1;
    case 0x75:
      for (let index = at + 1; index < at + 5; index += 1) {
        if (!isHexDigit(bytes[index] ?? 0)) return broken(index, NOT_JSON);
      }
      return at + 5;
    default:
      return broken(at, NOT_JSON);
  }
}

const isHexDigit = (byte: number): boolean =>
  (byte >= ZERO && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);

/** One UTF-8 sequence of two to four bytes, by the table of RFC 3629 section 4: no overlong form, no surrogate. */
function scanSequence(bytes: Uint8Array, at: number, lead: number): number {
  const second = bytes[at + 1] ?? 0;
  if (lead >= 0xc2 && lead <= 0xdf) return isTrail(second) ? at + 2 : broken(at, NOT_UTF8);
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (lead < 0xe0 || lead > 0xf4 || second < least || second > most || !isTrail(bytes[at + 2] ?? 0)) {
    return broken(at, NOT_UTF8);
  }
  if (lead < 0xf0) return at + 3;
  return isTrail(bytes[at + 3] ?? 0) ? at + 4 : broken(at, NOT_UTF8);
}

const isTrail = (byte: number): boolean => byte >= 0x80 && byte <= 0xbf;

/** The key between its opening quote and its value; what lies between the closing quote and the value is cut away. */
function decodeKey(bytes: Uint8Array, keyStart: number, valueStart: number): string {
  return quotedText(bytes, keyStart, bytes.lastIndexOf(QUOTE, valueStart - 1) + 1);
}

/** The text between two quotes, which stand at the offsets (end exclusive). */
function quotedText(bytes: Uint8Array, start: number, end: number): string {
  const text = decoder.decode(bytes.subarray(start, end));
  return text.includes('\\') ? String(JSON.parse(text)) : text.slice(1, -1);
}

/** Keys the gateway acts on. A decoder that ignores case (Go's does) would take a look-alike for one of them. */
const GUARDED = new Set(['model', 'stream', 'stream_options']);

function checkKey(
  key: string,
  members: ReadonlyMap<string, JsonMember>,
  offset: number,
): JsonProblem | undefined {
  if (members.has(key)) {
    return twice(key, offset);
  }
  // Upper case first: the long s (U+017F) becomes S; then lower case: the Kelvin sign (U+212A) becomes k.
  if (!GUARDED.has(key) && key.length <= 14 && GUARDED.has(key.toUpperCase().toLowerCase())) {
    return problem('lookalike_key', offset, `The key ${shown(key)} must be written in lower case.`);
  }
  if (members.size >= JSON_MEMBERS_MAX) {
    return problem('too_many_members', offset, `The object has more than ${JSON_MEMBERS_MAX} members.`);
  }
  return undefined;
}

const shown = (key: string): string => JSON.stringify(key.length > 64 ? `${key.slice(0, 64)}…` : key);
