/**
 * The strict scanner of a multipart form (RFC 7578, RFC 2046): finds each part's content by byte offset, so that the
 * gateway can read `model` and replace it without copying the files beside it. Refuses what two parsers might take apart
 * differently: a provider must not find another model in the form than the one that was priced here.
 *
 * Refused for that reason: line ends other than CRLF around a boundary, text before the first or after the last one,
 * a boundary that goes on as something else, headers that are folded or repeated, and a field read here that is given twice, as a file, or
 * encoded. The search steps by the boundary's length and compares only after a line end, so its cost is linear.
 */

/** One part: its name, and where its content lies. */
export interface FormPart {
  readonly name: string;
  /** Whether it has a file name: a file, not a field. */
  readonly isFile: boolean;
  /** Byte offsets of the content, end exclusive. */
  readonly start: number;
  readonly end: number;
}

export interface FormScan {
  readonly boundary: string;
  readonly parts: readonly FormPart[];
}

export type FormScanResult =
  | ({ readonly kind: 'form' } & FormScan)
  /** One sentence for whoever sent the form. Names a field, never a value. */
  | { readonly kind: 'refused'; readonly message: string };

/** Parts of one form: 16 pictures and some twenty fields are the most that any route takes. */
export const FORM_PARTS_MAX = 256;
/** The headers of one part, bytes: a file name of any length that a disk can hold, in any encoding. */
export const FORM_HEADER_BYTES_MAX = 8_192;
/** What a header says of the boundary is bounded by RFC 2046. */
const BOUNDARY_LENGTH_MAX = 70;
/** Fields that are read here: each at most once, plainly written. */
const READ_FIELDS = ['model', 'stream', 'stream_format', 'prompt', 'n'] as const;
export type ReadField = (typeof READ_FIELDS)[number];

/** The boundary of a Content-Type header; undefined when it is no multipart form, or none that is understood in one way only. */
export function formBoundary(contentType: string): string | undefined {
  const match = /^multipart\/form-data((?:[ \t]*;[ \t]*[a-z-]+=(?:"[^"\\]*"|[^\s;",]+))+)[ \t]*$/i.exec(
    contentType,
  );
  const named = [...(match?.[1] ?? '').matchAll(/;[ \t]*([a-z-]+)=(?:"([^"\\]*)"|([^\s;",]+))/gi)];
  const boundaries = named.filter(([, name]) => name?.toLowerCase() === 'boundary');
  const boundary = boundaries[0]?.[2] ?? boundaries[0]?.[3] ?? '';
  const isPlain = /^[A-Za-z0-9'()+_,./:=? -]*[A-Za-z0-9'()+_,./:=?-]$/.test(boundary);
  return boundaries.length === 1 && isPlain && boundary.length <= BOUNDARY_LENGTH_MAX ? boundary : undefined;
}

/** Whether a Content-Type header speaks of a multipart form at all. */
export const isForm = (contentType: string | undefined): boolean =>
  /^\s*multipart\//i.test(contentType ?? '');

/** Takes the form apart, or says why not. */
export function scanForm(bytes: Uint8Array, boundary: string): FormScanResult {
  const dashed = encoder.encode(`--${boundary}`);
  const find = lineSearch(dashed);
  if (find(bytes, 0) !== 0) return refused('does not begin with its boundary');
  const parts: FormPart[] = [];
  let at = dashed.length;
  while (!(bytes[at] === DASH && bytes[at + 1] === DASH)) {
    if (bytes[at] !== CR || bytes[at + 1] !== LF)
      return refused(`has a boundary that no line end follows, at byte ${at}`);
    const headersEnd = endOfHeaders(bytes, at + 2);
    if (headersEnd === undefined)
      return refused(
        `has a part whose headers do not end within ${FORM_HEADER_BYTES_MAX} bytes, at byte ${at}`,
      );
    const header = readHeaders(decoder.decode(bytes.subarray(at + 2, headersEnd)));
    if (typeof header === 'string') return refused(`${header}, at byte ${at}`);
    const start = headersEnd + (headersEnd === at + 2 ? 2 : 4);
    const next = find(bytes, Math.max(start, 1));
    if (next < 0) return refused('ends without its final boundary');
    if (bytes[next - 1] !== LF || bytes[next - 2] !== CR || next - 2 < start)
      return refused(`has a boundary after a line end that is not CRLF, at byte ${next}`);
    parts.push({ ...header, start, end: next - 2 });
    if (parts.length > FORM_PARTS_MAX) return refused(`has more than ${FORM_PARTS_MAX} parts`);
    at = next + dashed.length;
  }
  const rest = bytes.length - (at + 2);
  if (rest !== 0 && !(rest === 2 && bytes[at + 2] === CR && bytes[at + 3] === LF))
    return refused('goes on after its final boundary');
  return checkFields(parts) ?? { kind: 'form', boundary, parts };
}

/** The text of a field; undefined when the form has none of that name, null when it is not UTF-8. */
export function formField(bytes: Uint8Array, scan: FormScan, name: ReadField): string | null | undefined {
  const part = scan.parts.find((one) => one.name === name);
  if (part === undefined) return undefined;
  try {
    return strict.decode(bytes.subarray(part.start, part.end));
  } catch {
    return null;
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const CR = 0x0d;
const LF = 0x0a;
const DASH = 0x2d;

const refused = (what: string): FormScanResult => ({
  kind: 'refused',
  message: `The multipart form ${what}.`,
});

/** Horspool's search for the bytes where a line begins: at offset 0, or after a CR or an LF, whichever. */
function lineSearch(wanted: Uint8Array): (bytes: Uint8Array, from: number) => number {
  const length = wanted.length;
  const shift = new Uint8Array(256).fill(length);
  for (let index = 0; index < length - 1; index += 1) shift[wanted[index] ?? 0] = length - 1 - index;
  const isAt = (bytes: Uint8Array, start: number): boolean => {
    const before = bytes[start - 1];
    if (start > 0 && before !== LF && before !== CR) return false;
    for (let index = 0; index < length; index += 1) if (bytes[start + index] !== wanted[index]) return false;
    return true;
  };
  return (bytes, from) => {
    let start = from;
    while (start + length <= bytes.length) {
      if (isAt(bytes, start)) return start;
      start += shift[bytes[start + length - 1] ?? 0] ?? 1;
    }
    return -1;
  };
}

/** Where the line end before the empty line stands; undefined when it is not within the bound. */
function endOfHeaders(bytes: Uint8Array, from: number): number | undefined {
  if (bytes[from] === CR && bytes[from + 1] === LF) return from;
  const last = Math.min(bytes.length - 3, from + FORM_HEADER_BYTES_MAX);
  for (let at = from; at < last; at += 1) {
    if (bytes[at] === CR && bytes[at + 1] === LF && bytes[at + 2] === CR && bytes[at + 3] === LF) return at;
  }
  return undefined;
}

/** The name of a part by its headers, or what is wrong with them. */
function readHeaders(text: string): { readonly name: string; readonly isFile: boolean } | string {
  const seen = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const [, name = '', value = ''] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)$/.exec(line) ?? [];
    if (name === '') return 'has a part with a header that cannot be read';
    if (seen.has(name.toLowerCase())) return `has a part with two headers ${name}`;
    seen.set(name.toLowerCase(), value);
  }
  const disposition = readDisposition(seen.get('content-disposition') ?? '');
  if (typeof disposition === 'string') return disposition;
  const encoding = (seen.get('content-transfer-encoding') ?? 'binary').trim().toLowerCase();
  const isEncoded = !['7bit', '8bit', 'binary'].includes(encoding);
  if (isEncoded && isRead(disposition.name)) return `has the field "${disposition.name}" encoded`;
  return disposition;
}

/** A quoted text without an escaped quote: some read a backslash as itself, and the text would end elsewhere for them. */
const PARAMETER = /^[ \t]*;[ \t]*([a-z*]+)=(?:"((?:[^"\\]|\\(?!"))*)"|([^\s;"]+))/i;

function readDisposition(value: string): { readonly name: string; readonly isFile: boolean } | string {
  const wrong = 'has a part whose Content-Disposition cannot be read in one way only';
  if (!/^form-data(?=[ \t]*;)/i.test(value)) return wrong;
  let rest = value.slice('form-data'.length).trimEnd();
  const parameters = new Map<string, string>();
  while (rest !== '') {
    const match = PARAMETER.exec(rest);
    if (match === null) return wrong;
    const key = (match[1] ?? '').toLowerCase();
    if (parameters.has(key)) return wrong;
    parameters.set(key, match[2] ?? match[3] ?? '');
    rest = rest.slice(match[0].length);
  }
  const name = parameters.get('name');
  if (name === undefined || parameters.has('name*')) return wrong;
  return { name, isFile: parameters.has('filename') || parameters.has('filename*') };
}

const isRead = (name: string): name is ReadField => READ_FIELDS.some((field) => field === name);

/** Servers differ in which of two fields they take, and some ignore case, brackets or space around a name. */
function checkFields(parts: readonly FormPart[]): FormScanResult | undefined {
  const seen = new Set<string>();
  for (const { name, isFile } of parts) {
    if (isRead(name)) {
      if (isFile) return refused(`has the field "${name}" as a file`);
      if (seen.has(name)) return refused(`has the field "${name}" twice`);
      seen.add(name);
    } else if (isRead(plainName(name))) {
      return refused(`has a field that must be written "${plainName(name)}"`);
    }
  }
  return undefined;
}

/** Percent-encoded and otherwise disguised names as somebody lenient would read them. */
const plainName = (name: string): string =>
  name
    .replaceAll(/%([0-9a-f]{2})/gi, (_whole, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    .replaceAll(/[\s\0\\]|\[.*$/g, '')
    .toLowerCase();
