/** What a caller is told where a reply cannot be given, or not whole. */
import type { ResponseReader } from '../../providers/provider.ts';
import { type Dialect, errorBody, Refusal, refusalReply } from '../errors.ts';
import { LedgerUnavailable } from '../ledger/ledger.ts';
import type { Call } from './call.ts';
import type { CallerReply } from './ports.ts';

/** The refusal as the whole reply; answers its status. */
export function sendRefusal(
  reply: CallerReply,
  refusal: Refusal,
  { dialect, id }: { readonly dialect: Dialect; readonly id: string },
): number {
  const { status, headers, body } = refusalReply(refusal, dialect, id);
  const bytes = encoder.encode(body);
  reply.head(status, { ...headers, 'content-length': String(bytes.length) });
  reply.write(bytes);
  reply.end();
  return status;
}

/** The refusal as the last thing in a stream that has begun. */
export function errorInStream(refusal: Refusal, call: Call, reader: ResponseReader): Uint8Array {
  const error = JSON.stringify(streamError(refusal, call));
  return encoder.encode(reader.errorFrame?.(error) ?? errorEvent(error, call));
}

const encoder = new TextEncoder();

/** The error in the dialect; the Responses API's is an event of its own type, with the same beside it. */
function streamError(refusal: Refusal, { dialect, id, endpoint }: Call): unknown {
  const body = errorBody(refusal, dialect, id);
  if (endpoint !== 'responses') return body;
  const { code, message, param } = refusal;
  return { type: 'error', sequence_number: 0, code, message, param, ...Object(body) };
}

/** A break inside an event is closed first, so that the error stands as an event of its own. */
function errorEvent(error: string, { dialect, endpoint }: Call): string {
  const name = dialect === 'anthropic' || endpoint === 'responses' ? 'event: error\n' : '';
  return `\n\n${name}data: ${error}\n\n`;
}

export function upstreamError(
  call: Call,
  what: string,
  code: 'upstream_error' | 'upstream_timeout' = 'upstream_error',
): Refusal {
  const { name } = call.target.route.upstream;
  return new Refusal(code, `The provider "${name}" ${what}. The request id is ${call.id}.`);
}

export const unwritten = (error: unknown): Refusal =>
  error instanceof LedgerUnavailable
    ? new Refusal(
        'ledger_unavailable',
        'The usage of this call could not be recorded, so the reply is withheld. Try again shortly.',
      )
    : new Refusal('internal_error', 'The gateway failed while it settled this call.');

/** A shorter word is no credential, but what somebody gave a server that wants none; it may be a part of any other. */
const SECRET_CHARS_MIN = 8;

/** A vendor's error may repeat the credential it was given, its characters escaped or not; it is the operator's, and stays here. */
export function withoutSecret(pieces: readonly Uint8Array[], secret: string | null): readonly Uint8Array[] {
  if (secret === null || secret.length < SECRET_CHARS_MIN || pieces.length === 0) return pieces;
  const text = textOf(pieces);
  const told = new RegExp([...secret].map(inJson).join(''), 'g');
  return told.test(text) ? [encoder.encode(text.replace(told, '[redacted]'))] : pieces;
}

/** The ways in which JSON may write a character, as a pattern. */
function inJson(char: string): string {
  const code = char.charCodeAt(0).toString(16).padStart(4, '0');
  const digits = code.replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`);
  return `(?:\\\\?\\u${code}|\\\\u${digits})`;
}

/** What a reader gave, of a reply that tells of a failure without the credential. */
export const cleared = (
  reader: ResponseReader,
  pieces: readonly Uint8Array[],
  { target }: Call,
): readonly Uint8Array[] =>
  reader.failed === true ? withoutSecret(pieces, target.route.upstream.apiKey) : pieces;

export function textOf(pieces: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  return pieces.map((piece) => decoder.decode(piece, { stream: true })).join('') + decoder.decode();
}

/** Whether an upstream refuses the option that asks it for usage: with a 400 or, where FastAPI checks members, a 422. */
export const refusesUsageOption = (status: number | null, text: string): boolean =>
  (status === 400 || status === 422) && /stream_options|include_usage/.test(text);

/** Whether a stream's first word is an error. Asked of its first pieces only. */
export function opensWithError(reader: ResponseReader, pieces: readonly Uint8Array[]): boolean {
  if (!reader.streams || pieces.length === 0) return false;
  return reader.opensWithError ?? (saysError(pieces) && isNothingElse(reader));
}

/** Whether a whole reply is an error and nothing else, whatever its status: some vendors say so with a 200. */
export const isErrorAlone = (reader: ResponseReader | undefined, pieces: readonly Uint8Array[]): boolean =>
  reader?.streams === false && isNothingElse(reader) && saysError(pieces);

/** What a success lacks, although its connection ended well. */
export function endedShort(reader: ResponseReader | undefined): string | undefined {
  if (reader === undefined || reader.complete) return undefined;
  return reader.streams
    ? 'ended its stream without its end marker'
    : 'sent a reply that is not whole, or no JSON';
}

const saysError = (pieces: readonly Uint8Array[]): boolean =>
  pieces.some((piece) => new TextDecoder().decode(piece).includes('"error"'));

function isNothingElse(reader: ResponseReader): boolean {
  const { failed, kind } = reader.metered();
  return failed === true && kind === 'none' && reader.estimate().deltas === 0;
}
