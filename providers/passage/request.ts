/** What every same-dialect request has in common: the caller's headers with our credential, the caller's body with our model. */
import { formField, type FormScan } from '../../src/usage/form-scanner.ts';
import { memberText } from '../../src/usage/json-scanner.ts';
import type { ProviderCall, UpstreamHead } from '../provider.ts';
import { spliceObject, type Splice } from './splice.ts';

/** Set by the relay, which knows the length and the host, or false once the body is spliced. */
const DROPPED = new Set([
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
  'cookie',
  'host',
  'content-length',
  'content-encoding',
  'transfer-encoding',
]);

/** The headers to an upstream: the caller's that may travel, and the credential in the vendor's own header. */
export function upstreamHeaders(
  call: Pick<ProviderCall, 'headers' | 'form'>,
  credential: Readonly<Record<string, string>>,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(call.headers)) if (!DROPPED.has(name)) headers[name] = value;
  headers['content-type'] = call.form?.contentType ?? 'application/json';
  // An encoded reply could not be read on its way.
  headers['accept-encoding'] = 'identity';
  return { ...headers, ...credential };
}

/** The splice that names the model as the upstream knows it; none where the body does already. */
export function modelSplice(call: ProviderCall): readonly Splice[] {
  const model = call.scan.members.get('model');
  const json = JSON.stringify(call.model);
  return model === undefined || memberText(call.body, model) !== json ? [{ key: 'model', json }] : [];
}

/** The caller's body, spliced; the same bytes where there is nothing to splice. */
export const splicedBody = (call: ProviderCall, splices: readonly Splice[]): readonly Uint8Array[] =>
  splices.length === 0 ? [call.body] : spliceObject(call.body, call.scan, splices);

/** The caller's form with the model as the upstream knows it, in pieces: the files in it are not copied. */
export function formBody(call: ProviderCall, form: FormScan): readonly Uint8Array[] {
  if (formField(call.body, form, 'model') === call.model) return [call.body];
  const model = form.parts.find(({ name }) => name === 'model');
  if (model === undefined) return [encoder.encode(fieldText(form.boundary, call.model)), call.body];
  return [call.body.subarray(0, model.start), encoder.encode(call.model), call.body.subarray(model.end)];
}

const fieldText = (boundary: string, model: string): string =>
  `--${boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\n${model}\r\n`;

const encoder = new TextEncoder();

/**
 * Whether a successful reply is an event stream. Its first bytes show it, whatever it is labelled: a stream that is read
 * as JSON, or the other way round, would tell no usage. Without them its label comes before what was asked for.
 */
export function isEventStream({ headers, begins }: UpstreamHead, streamAsked: boolean): boolean {
  const shown = begins === undefined ? undefined : showsEvents(begins);
  if (shown !== undefined) return shown;
  const contentType = (headers['content-type'] ?? '').toLowerCase();
  return contentType.includes('event-stream') || (streamAsked && !contentType.includes('json'));
}

/** The fields of an event stream (WHATWG, 9.2.6), and the comment. */
const FIELDS = ['data:', 'event:', 'id:', 'retry:', ':'];
const LONGEST_FIELD = 'event:'.length;

/** True for the first bytes of an event stream, false for those of a JSON object or array or of a page, undefined for any others. */
function showsEvents(begins: Uint8Array): boolean | undefined {
  let at = begins[0] === 0xef && begins[1] === 0xbb && begins[2] === 0xbf ? 3 : 0;
  while (isSpace(begins[at])) at += 1;
  const first = begins[at];
  if (first === undefined) return undefined;
  if (first === OPEN_BRACE || first === OPEN_BRACKET || first === LESS_THAN) return false;
  const text = String.fromCharCode(...begins.subarray(at, at + LONGEST_FIELD));
  // A piece may end within a field's name.
  return FIELDS.some((field) => text.startsWith(field) || field.startsWith(text)) ? true : undefined;
}

const LESS_THAN = 0x3c;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/**
 * Of an input's weight, in quarters of a token, what it surely has in tokens: half, which is eight characters of English
 * a token, where tokenizers come to four or five. What frames a message is left out before: vendors differ in charging
 * for it.
 */
export const leastTokens = (quartersWithoutFrames: number): number => Math.floor(quartersWithoutFrames / 8);
