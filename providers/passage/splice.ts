/** Replaces and inserts members of a scanned JSON object without copying the rest of it. */
import type { JsonObjectScan } from '../../src/usage/json-scanner.ts';

/** A member's new value as JSON text. */
export interface Splice {
  readonly key: string;
  readonly json: string;
}

/** The object's bytes in pieces: replaced where a member is there, inserted in front where it is not. */
export function spliceObject(
  body: Uint8Array,
  scan: JsonObjectScan,
  splices: readonly Splice[],
): readonly Uint8Array[] {
  const edits = splices.map(({ key, json }) => {
    const member = scan.members.get(key);
    if (member !== undefined) return { start: member.start, end: member.end, text: json };
    return { start: scan.insertAt, end: scan.insertAt, text: `${JSON.stringify(key)}:${json}` };
  });
  edits.sort((a, b) => a.start - b.start);
  const pieces: Uint8Array[] = [];
  let from = 0;
  let membersLeft = scan.members.size;
  for (const edit of edits) {
    const inserted = edit.start === edit.end;
    if (edit.start > from) pieces.push(body.subarray(from, edit.start));
    pieces.push(encoder.encode(inserted && membersLeft > 0 ? `${edit.text},` : edit.text));
    if (inserted) membersLeft += 1;
    from = edit.end;
  }
  if (from < body.length) pieces.push(body.subarray(from));
  return pieces;
}

const encoder = new TextEncoder();
