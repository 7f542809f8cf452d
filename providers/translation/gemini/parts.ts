/** The parts of a Gemini candidate, and what it tells when it stops. */
import {
  argumentsObject,
  type ComposedChoice,
  type ComposedPart,
  type ComposedThought,
} from '../composition.ts';
import { signedId, wrapProof } from '../proofs.ts';
import type { TokenLogprob } from '../reply.ts';
import { geminiFinishReason } from './stop.ts';

type Json = Readonly<Record<string, unknown>>;

/** A part whole. A thought that says and proves nothing is none. */
export function wholeParts(part: ComposedPart): readonly Json[] {
  switch (part.kind) {
    case 'text':
    case 'refusal':
      return part.text === '' ? [] : [{ text: part.text }];
    case 'reasoning': {
      const proof = proofPart(part);
      const told = part.text === '' ? [] : [{ text: part.text, thought: true }];
      return proof === undefined ? told : [...told, proof];
    }
    case 'tool_call': {
      const args = argumentsObject(part.text);
      return [{ functionCall: { id: signedId(part.id, part.signature), name: part.name, args } }];
    }
    case 'media':
      return [{ inlineData: { mimeType: part.mediaType, data: part.base64 } }];
  }
}

/** What proves a thought: a part of its own, as the vendor has it at a stream's end. */
export function proofPart({ vendor, signature, sealed, id }: ComposedThought): Json | undefined {
  if (signature === undefined && sealed === undefined) return undefined;
  const proof = vendor === 'google' ? signature : wrapProof({ vendor, signature, sealed, id });
  return { text: '', thought: true, thoughtSignature: proof };
}

/** What a candidate tells with its last part. */
export function closing({ index, parts, stop }: ComposedChoice): Json {
  const refused = parts.some((part) => part.kind === 'refusal');
  const logprobs = parts.flatMap((part) => ('logprobs' in part ? part.logprobs : []));
  return {
    finishReason: geminiFinishReason(stop?.reason ?? 'end', refused),
    index,
    ...(logprobs.length === 0 ? {} : { logprobsResult: logprobsResult(logprobs) }),
    ...groundingOf(parts),
  };
}

const logprobsResult = (tokens: readonly TokenLogprob[]): Json => ({
  chosenCandidates: tokens.map(({ token, logprob }) => ({ token, logProbability: logprob })),
  topCandidates: tokens.map(({ top }) => ({
    candidates: top.map(({ token, logprob }) => ({ token, logProbability: logprob })),
  })),
});

/** Places count in bytes from the beginning of the part. */
function groundingOf(parts: readonly ComposedPart[]): Json {
  const chunks: Json[] = [];
  const supports: Json[] = [];
  for (const [partIndex, part] of parts.entries()) {
    if (part.kind !== 'text') continue;
    for (const { url, title, start, end } of part.citations) {
      chunks.push({ web: { uri: url, title: title ?? '' } });
      if (start === undefined || end === undefined) continue;
      const segment = {
        ...(partIndex === 0 ? {} : { partIndex }),
        startIndex: bytesBefore(part.text, start),
        endIndex: bytesBefore(part.text, end),
        text: part.text.slice(start, end),
      };
      supports.push({ segment, groundingChunkIndices: [chunks.length - 1] });
    }
  }
  if (chunks.length === 0) return {};
  return { groundingMetadata: { groundingChunks: chunks, groundingSupports: supports } };
}

const bytesBefore = (text: string, end: number): number =>
  new TextEncoder().encode(text.slice(0, end)).length;
