/** Token counts as vendors write them, and their errors. */
import { isRecord } from '../../src/usage/json-value.ts';

/** More tokens than any reply can have (the largest contexts are some 10 million): a larger count is a defect. */
export const TOKENS_MAX = 1_000_000_000;

export type Count = number | 'malformed' | undefined;

/** A count as reported: undefined for missing and null, which are not zero. */
export function countOf(value: unknown): Count {
  if (value === undefined || value === null) return undefined;
  const sane = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= TOKENS_MAX;
  return sane ? value : 'malformed';
}

/** Whether a body or an event says that it failed, in whatever shape. */
export const carriesError = (body: Readonly<Record<string, unknown>>): boolean =>
  (body['error'] ?? null) !== null || body['object'] === 'error' || isBareError(body);

/** What only a reply has, or a part of one, in any dialect. */
const OF_REPLIES: ReadonlySet<string> = new Set([
  'choices',
  'output',
  'outputs',
  'steps',
  'content',
  'candidates',
  'promptFeedback',
  'data',
  'text',
  'embedding',
  'embeddings',
  'predictions',
  'usage',
  'usageMetadata',
  'response',
  'delta',
  'interaction',
  'value',
]);

/** Errors without a member of that name: FastAPI's `detail`, a `message`, MiniMax's `base_resp`. With a reply's own members they are none. */
function isBareError(body: Readonly<Record<string, unknown>>): boolean {
  const { detail, message, base_resp: told } = body;
  const status = isRecord(told) ? (told['status_code'] ?? 0) : 0;
  if ((detail ?? null) === null && typeof message !== 'string' && status === 0) return false;
  return Object.entries(body).every(([name, value]) => value === null || !OF_REPLIES.has(name));
}

/**
 * Why a reply with this error is none, for the record: with the error's own code, type or status. Its message may quote the
 * caller's text, so it is left out.
 */
export function errorReason(error: unknown): string {
  const told = 'the reply carries an error';
  if (typeof error !== 'object' || error === null) return told;
  const named = error as Readonly<Record<string, unknown>>;
  const name = named['code'] ?? named['type'] ?? named['status'];
  const isName = typeof name === 'string' || typeof name === 'number';
  return isName ? `${told}: ${String(name).slice(0, 100)}` : told;
}
