/** Replaces, inserts and removes members of a scanned JSON object without copying the rest of it. */
import type { JsonMember, JsonObjectScan } from '../../src/usage/json-scanner.ts';

/** A member's new value as JSON text; undefined to remove it. */
export interface Splice {
  readonly key: string;
  readonly json: string | undefined;
}

/** The object's bytes in pieces: replaced or removed where a member is there, inserted in front where it is not. */
export function spliceObject(
  body: Uint8Array,
  scan: JsonObjectScan,
  splices: readonly Splice[],
): readonly Uint8Array[] {
  const edits = splices.flatMap(({ key, json }) => {
    const member = scan.members.get(key);
    if (json === undefined) return member === undefined ? [] : [{ ...removal(body, member), text: '' }];
    if (member !== undefined) return [{ start: member.start, end: member.end, text: json }];
    return [{ start: scan.insertAt, end: scan.insertAt, text: `${JSON.stringify(key)}:${json}` }];
  });
  edits.sort((a, b) => a.start - b.start);
  const pieces: Uint8Array[] = [];
  let from = 0;
  let membersLeft = scan.members.size;
  for (const edit of edits) {
    const inserted = edit.start === edit.end;
    if (edit.start > from) pieces.push(body.subarray(from, edit.start));
    if (edit.text !== '')
      pieces.push(encoder.encode(inserted && membersLeft > 0 ? `${edit.text},` : edit.text));
    if (inserted) membersLeft += 1;
    from = edit.end;
  }
  if (from < body.length) pieces.push(body.subarray(from));
  return pieces;
}

/** A member with one comma: the one behind it, else the one before it. */
function removal(body: Uint8Array, { keyStart, end }: JsonMember): { start: number; end: number } {
  let behind = end;
  while (isSpace(body[behind])) behind += 1;
  if (body[behind] === COMMA) return { start: keyStart, end: behind + 1 };
  let before = keyStart - 1;
  while (isSpace(body[before])) before -= 1;
  return { start: body[before] === COMMA ? before : keyStart, end };
}

const COMMA = 0x2c;
const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

const encoder = new TextEncoder();
