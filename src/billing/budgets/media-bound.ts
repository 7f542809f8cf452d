/**
 * What a picture or a sound may cost at most, from its request alone, where OpenAI documents it. Pure. Everything else has
 * no bound: other vendors' servers, models not named here, and
 *
 * - pictures that are edited: what is read of them is not documented for every fidelity;
 * - `whisper-1`, transcriptions and translations: seconds, and bytes say little of them (Opus has a silence of hours in one
 *   megabyte);
 * - `gpt-4o-transcribe-diarize`, or with `chunking_strategy`: the sound is read in as many pieces as the vendor likes;
 * - `gpt-4o-mini-tts`: no limit on the speech that comes of a text.
 *
 * https://platform.openai.com/docs/guides/image-generation#cost-and-latency and the pages of the models.
 */
import { isRecord } from '../../usage/json-value.ts';
import type { Units } from '../../usage/usage.ts';

export interface MediaBound {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly units: Units;
}

export interface MediaRequest {
  readonly endpoint: string;
  readonly bodyBytes: number;
  /** The body's JSON; undefined for a form. */
  readonly body: unknown;
  /** The names of a form's parts; undefined where it is none. */
  readonly formNames: readonly string[] | undefined;
  readonly upstreamModel: string;
  readonly providerType: string;
}

/** Tokens of one picture of `gpt-image-1` and `-mini`, by size and quality; `auto` may be any. */
const IMAGE_TOKENS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  '1024x1024': { low: 272, medium: 1_056, high: 4_160, auto: 4_160 },
  '1024x1536': { low: 408, medium: 1_584, high: 6_240, auto: 6_240 },
  '1536x1024': { low: 400, medium: 1_568, high: 6_208, auto: 6_208 },
  auto: { low: 408, medium: 1_584, high: 6_240, auto: 6_240 },
};
/** Each picture that is shown before it is finished counts so much more. */
const PARTIAL_TOKENS = 100;
const PARTIALS_MAX = 3;
/** Pictures of one request. */
const PICTURES_MAX = 10;
/** Beside the prompt, of which a token is a byte at least. */
const IMAGE_PREAMBLE_TOKENS = 128;
/** The context and the longest reply of `gpt-4o-transcribe` and `-mini`, whatever the sound. */
const TRANSCRIBE_INPUT_TOKENS = 16_000;
const TRANSCRIBE_OUTPUT_TOKENS = 2_000;

const TOKEN_IMAGES = /^gpt-image-1(?:-mini)?$/;
const UNIT_IMAGES = /^dall-e-[23]$/;
const UNIT_SPEECH = /^tts-1(?:-hd)?(?:-1106)?$/;
const TRANSCRIBERS = /^gpt-4o(?:-mini)?-transcribe(?:-20\d\d-\d\d-\d\d)?$/;
/** What a transcription may name without being read in pieces. */
const TRANSCRIBE_FIELDS =
  /^(?:file|model|prompt|language|temperature|response_format|stream|include(?:\[\])?)$/;

/** Null where nothing bounds it. */
export function mediaBoundOf(request: MediaRequest): MediaBound | null {
  const { endpoint, body, upstreamModel: model } = request;
  if (request.providerType !== 'openai') return null;
  if (endpoint === 'audio.transcriptions') return transcriptionOf(request);
  if (!isRecord(body)) return null;
  if (endpoint === 'images.generations') return pictureOf(body, request);
  if (endpoint !== 'audio.speech' || !UNIT_SPEECH.test(model)) return null;
  const text = body['input'];
  return typeof text === 'string' ? inUnits({ characters: text.length }) : null;
}

const inUnits = (units: Units): MediaBound => ({ inputTokens: 0, outputTokens: 0, units });

function pictureOf(
  body: Readonly<Record<string, unknown>>,
  { upstreamModel: model, bodyBytes }: MediaRequest,
): MediaBound | null {
  const pictures = wholeOf(body['n'], { from: 1, to: PICTURES_MAX, unset: 1 });
  if (pictures === null) return null;
  if (UNIT_IMAGES.test(model)) return inUnits({ images: pictures });
  const sizes = IMAGE_TOKENS[wordOf(body['size'])];
  const each = TOKEN_IMAGES.test(model) ? sizes?.[wordOf(body['quality'])] : undefined;
  const partials = wholeOf(body['partial_images'], { from: 0, to: PARTIALS_MAX, unset: 0 });
  if (each === undefined || partials === null) return null;
  return {
    inputTokens: bodyBytes + IMAGE_PREAMBLE_TOKENS,
    outputTokens: pictures * (each + partials * PARTIAL_TOKENS),
    units: {},
  };
}

function transcriptionOf({ formNames, upstreamModel }: MediaRequest): MediaBound | null {
  const isWhole = formNames?.every((name) => TRANSCRIBE_FIELDS.test(name)) ?? false;
  if (!isWhole || !TRANSCRIBERS.test(upstreamModel)) return null;
  return { inputTokens: TRANSCRIBE_INPUT_TOKENS, outputTokens: TRANSCRIBE_OUTPUT_TOKENS, units: {} };
}

const wordOf = (value: unknown): string => {
  if (value === undefined || value === null) return 'auto';
  return typeof value === 'string' ? value : '';
};

/** Null for what is no such number: the vendor refuses it, or reads it in a way of its own. */
function wholeOf(
  value: unknown,
  { from, to, unset }: { readonly from: number; readonly to: number; readonly unset: number },
): number | null {
  if (value === undefined || value === null) return unset;
  return typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to ? value : null;
}
