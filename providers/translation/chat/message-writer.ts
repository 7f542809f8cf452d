/** One choice of a chat completion, whole, and the pieces of it that a stream tells at its end. */
import type { ComposedChoice, ComposedPart, ComposedThought } from '../composition.ts';
import { signedId, wrapProof } from '../proofs.ts';
import { writtenTokens } from './logprobs.ts';
import { chatFinishReason } from './stop.ts';

type Json = Readonly<Record<string, unknown>>;

export function wholeChoice(choice: ComposedChoice): Json {
  const { parts } = choice;
  const content = textOf(parts, 'text');
  const calls = parts.filter((part) => part.kind === 'tool_call');
  const reasoning = textOf(parts, 'reasoning');
  return {
    index: choice.index,
    message: {
      role: 'assistant',
      content: content ?? null,
      refusal: textOf(parts, 'refusal') ?? null,
      ...(reasoning === undefined || reasoning === '' ? {} : { reasoning_content: reasoning }),
      ...(calls.length === 0 ? {} : { tool_calls: calls.map((call) => toolCall(call)) }),
      ...imagesOf(parts),
      ...closingFields(choice),
    },
    logprobs: logprobsOf(parts),
    finish_reason: finishReason(choice),
  };
}

/** What a message says of its thoughts' proofs and its sources, told at the end: SDKs take the last of each as the whole. */
export function closingFields({ parts }: ComposedChoice): Json {
  const details = parts.flatMap((part) => (part.kind === 'reasoning' ? reasoningDetails(part) : []));
  const annotations = annotationsOf(parts);
  return {
    ...(details.length === 0
      ? {}
      : { reasoning_details: details.map((detail, index) => Object.assign(detail, { index })) }),
    ...(annotations.length === 0 ? {} : { annotations }),
  };
}

export const finishReason = ({ parts, stop }: ComposedChoice): string =>
  chatFinishReason(
    stop?.reason ?? 'end',
    parts.some((part) => part.kind === 'refusal'),
  );

export function toolCall(call: Extract<ComposedPart, { kind: 'tool_call' }>): Json {
  return {
    id: signedId(call.id, call.signature),
    type: 'function',
    function: { name: call.name, arguments: call.text },
  };
}

export const image = (mediaType: string, base64: string): Json => ({
  type: 'image_url',
  image_url: { url: `data:${mediaType};base64,${base64}` },
});

function imagesOf(parts: readonly ComposedPart[]): Json {
  const images = parts.filter((part) => part.kind === 'media');
  return images.length === 0 ? {} : { images: images.map((one) => image(one.mediaType, one.base64)) };
}

/** OpenRouter's words, the only ones in this dialect for proofs of thoughts. */
function reasoningDetails({ kind: _kind, text, ...proof }: ComposedThought): Json[] {
  if (proof.signature === undefined && proof.sealed === undefined) return [];
  return [{ type: 'reasoning.text', text, signature: wrapProof(proof) }];
}

/** Places count from the beginning of the content, which joins the text parts. */
function annotationsOf(parts: readonly ComposedPart[]): readonly Json[] {
  const annotations: Json[] = [];
  let before = 0;
  for (const part of parts) {
    if (part.kind !== 'text') continue;
    for (const { url, title, start, end } of part.citations) {
      annotations.push({
        type: 'url_citation',
        url_citation: {
          url,
          title: title ?? '',
          start_index: before + (start ?? 0),
          end_index: before + (end ?? 0),
        },
      });
    }
    before += part.text.length;
  }
  return annotations;
}

function logprobsOf(parts: readonly ComposedPart[]): Json | null {
  const of = (kind: 'text' | 'refusal') =>
    parts.flatMap((part) => (part.kind === kind && 'logprobs' in part ? part.logprobs : []));
  const content = of('text');
  const refusal = of('refusal');
  if (content.length === 0 && refusal.length === 0) return null;
  return {
    content: content.length === 0 ? null : writtenTokens(content),
    refusal: refusal.length === 0 ? null : writtenTokens(refusal),
  };
}

/** The parts of a kind as one text; undefined where there is none. */
function textOf(parts: readonly ComposedPart[], kind: 'text' | 'reasoning' | 'refusal'): string | undefined {
  const texts = parts.flatMap((part) => (part.kind === kind && 'text' in part ? [part.text] : []));
  return texts.length === 0 ? undefined : texts.join('');
}
