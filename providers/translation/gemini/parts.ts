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

/** All parts, whole. A thought that says and proves nothing is none. */
export function wholeParts(parts: readonly ComposedPart[]): readonly Json[] {
  const told: Json[] = [];
  let proof: Proof | undefined;
  for (const part of parts) {
    const said = saidPart(part);
    if (said !== undefined) {
      told.push(...proven(said, proof));
      proof = undefined;
    }
    if (part.kind !== 'reasoning') continue;
    if (proof !== undefined) told.push(proofPart(proof));
    proof = proofOf(part);
  }
  return proof === undefined ? told : [...told, proofPart(proof)];
}

/** What a part says; undefined where it says nothing. */
export function saidPart(part: ComposedPart): Json | undefined {
  switch (part.kind) {
    case 'text':
    case 'refusal':
    case 'reasoning':
      return part.text === '' ? undefined : textPart(part.kind, part.text);
    case 'tool_call': {
      const args = argumentsObject(part.text);
      return { functionCall: { id: signedId(part.id, part.signature), name: part.name, args } };
    }
    case 'media':
      return { inlineData: { mimeType: part.mediaType, data: part.base64 } };
  }
}

export const textPart = (kind: 'text' | 'refusal' | 'reasoning', text: string): Json =>
  kind === 'reasoning' ? { text, thought: true } : { text };

export interface Proof {
  readonly signature: string | undefined;
  /** The vendor's own stands where it put it; one of another's may stand with what follows the thought. */
  readonly travels: boolean;
}

/** What proves a thought. */
export function proofOf({ vendor, signature, sealed, id }: ComposedThought): Proof | undefined {
  if (signature === undefined && sealed === undefined) return undefined;
  if (vendor === 'google') return { signature, travels: false };
  return { signature: wrapProof({ vendor, signature, sealed, id }), travels: true };
}

/**
 * A part with the proof of the thought before it. It is no part of its own where that can be: Google's older client
 * forgets every exchange of a chat in which a part has an empty text.
 */
export function proven(part: Json, proof: Proof | undefined): readonly Json[] {
  if (proof === undefined) return [part];
  if (!proof.travels || part['thought'] === true) return [proofPart(proof), part];
  return [{ ...part, thoughtSignature: proof.signature }];
}

/** A proof that nothing follows: as the vendor has it at a stream's end. */
export const proofPart = ({ signature }: Proof): Json => ({
  text: '',
  thought: true,
  thoughtSignature: signature,
});

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
