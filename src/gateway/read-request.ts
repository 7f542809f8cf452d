/** Step 1b: the caller's body, read whole and looked at no further than the gateway must. */
import type { Endpoint, ProviderCall } from '../../providers/provider.ts';
import type { JsonObjectScan } from '../usage/json-scanner.ts';
import { memberValue, scanJsonObject } from '../usage/json-scanner.ts';
import { Refusal } from '../errors.ts';
import { isForm } from '../usage/form-scanner.ts';
import { ENDPOINTS, type EndpointTraits } from './endpoints.ts';
import type { RequestHeaders } from './headers.ts';
import type { Caller } from './ports.ts';
import { readForm } from './read-form.ts';

/** The largest body read, in bytes: 32 MiB, enough for a long prompt with images. */
export const BODY_BYTES_MAX = 32 * 1024 * 1024;

export interface RequestBody {
  readonly bytes: Uint8Array;
  readonly scan: JsonObjectScan;
  readonly form?: ProviderCall['form'];
  readonly model: string;
  readonly stream: boolean;
}

/**
 * Reads and checks the body of an inference request; undefined when the caller left before its end.
 *
 * @throws {Refusal} 413, 415, or 400 `invalid_request` saying what is wrong and where.
 */
export async function readRequest(
  caller: Caller,
  headers: RequestHeaders,
  asked: Asked,
): Promise<RequestBody | undefined> {
  const encoding = headers.contentEncoding?.trim().toLowerCase() ?? 'identity';
  if (encoding !== 'identity' && encoding !== '') {
    throw new Refusal(
      'unsupported_encoding',
      `The body is encoded as "${encoding}". Send it plain: no Content-Encoding.`,
    );
  }
  const bytes = await caller.body(BODY_BYTES_MAX);
  if (bytes === 'gone') return undefined;
  if (bytes === 'too_large') {
    throw new Refusal(
      'request_too_large',
      `The body is larger than ${BODY_BYTES_MAX} bytes (32 MiB). Send less in one request.`,
    );
  }
  const traits = ENDPOINTS[asked.endpoint];
  const { contentType } = headers;
  if (traits.takesForm === true && contentType !== undefined && isForm(contentType)) {
    const { form, model, stream } = readForm(bytes, contentType);
    const streams = traits.stream === 'body' && stream;
    return { bytes, scan: NO_MEMBERS, form, model: modelOf(model ?? traits.defaultModel), stream: streams };
  }
  const scanned = scanJsonObject(bytes);
  if (scanned.kind !== 'object') throw new Refusal('invalid_request', scanned.message);
  refuseBackground(asked.endpoint, bytes, scanned);
  const named = traits.modelFrom === 'path' ? asked.pathModel : memberValue(bytes, scanned, 'model');
  const stream = streamOf(bytes, scanned, traits.stream);
  return { bytes, scan: scanned, model: modelOf(named ?? traits.defaultModel), stream };
}

const NO_MEMBERS: JsonObjectScan = { members: new Map(), insertAt: 0 };

/** The route that was asked, and the model where it stands in the path. */
export interface Asked {
  readonly endpoint: Endpoint;
  readonly pathModel?: string | undefined;
}

/** Names are short; the bound keeps a model from becoming a database key of any size. */
const MODEL_LENGTH_MAX = 256;
/** Control characters and halves of a surrogate pair: no name has them, and neither a header nor a bill can hold them. */
const UNNAMEABLE = /[\p{Cc}\p{Cs}]/u;

function modelOf(model: unknown): string {
  if (
    typeof model === 'string' &&
    model !== '' &&
    model.length <= MODEL_LENGTH_MAX &&
    !UNNAMEABLE.test(model)
  )
    return model;
  throw new Refusal(
    'invalid_request',
    `"model" must be a string of 1 to ${MODEL_LENGTH_MAX} characters, none of them a control character, such as "openai/gpt-4o-mini".`,
    { param: 'model' },
  );
}

function streamOf(bytes: Uint8Array, scan: JsonObjectScan, told: EndpointTraits['stream']): boolean {
  if (told === 'format') return memberValue(bytes, scan, 'stream_format') === 'sse';
  if (told !== 'body') return told === 'always';
  const stream = memberValue(bytes, scan, 'stream');
  if (typeof stream === 'boolean') return stream;
  if (stream === undefined || stream === null) return false;
  throw new Refusal('invalid_request', '"stream" must be true or false.', { param: 'stream' });
}

/** An interaction in the background tells its usage only when it is fetched later, which no route here does. */
function refuseBackground(endpoint: Endpoint, bytes: Uint8Array, scan: JsonObjectScan): void {
  if (endpoint !== 'interactions' || memberValue(bytes, scan, 'background') !== true) return;
  throw new Refusal(
    'unsupported_parameter',
    '"background": true is not served here: its usage would not be told in this reply. Leave it out, or stream.',
    { param: 'background' },
  );
}
