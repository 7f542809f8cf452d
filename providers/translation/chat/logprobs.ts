/** Log probabilities in OpenAI's shape, which both of its dialects share. */
import { isRecord, listOf } from '../../../src/usage/json-value.ts';
import type { TokenLogprob } from '../reply.ts';

export interface ChatLogprobs {
  readonly content: readonly TokenLogprob[];
  readonly refusal: readonly TokenLogprob[];
}

export function readLogprobs(logprobs: unknown): ChatLogprobs {
  if (!isRecord(logprobs)) return { content: [], refusal: [] };
  return { content: readTokens(logprobs['content']), refusal: readTokens(logprobs['refusal']) };
}

/** A list of tokens; what is none is left out. */
export function readTokens(tokens: unknown): readonly TokenLogprob[] {
  const read: TokenLogprob[] = [];
  for (const entry of listOf(tokens)) {
    const token = readToken(entry);
    if (token === undefined || !isRecord(entry)) continue;
    const top = listOf(entry['top_logprobs']).map(readToken);
    read.push({ ...token, top: top.filter((one) => one !== undefined) });
  }
  return read;
}

type Token = Omit<TokenLogprob, 'top'>;

function readToken(entry: unknown): Token | undefined {
  if (!isRecord(entry)) return undefined;
  const { token, logprob, bytes } = entry;
  if (typeof token !== 'string' || typeof logprob !== 'number') return undefined;
  const octets = Array.isArray(bytes) ? bytes.filter((byte) => typeof byte === 'number') : null;
  return { token, logprob, bytes: octets };
}

/** The same in OpenAI's words. */
export const writtenTokens = (tokens: readonly TokenLogprob[]): readonly unknown[] =>
  tokens.map(({ top, ...token }) => ({ ...token, top_logprobs: top }));
