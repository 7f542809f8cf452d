/** The content blocks of an Anthropic message: whole, and as a stream opens them. */
import { argumentsObject, type ComposedPart } from '../composition.ts';
import { sealAsSignature } from '../proof.ts';
import type { Citation } from '../reply.ts';

export type Block = { readonly type: string } & Readonly<Record<string, unknown>>;

/** A thought without words that carries a tool call's proof: see `proof.ts`. */
export const proofBlock = (signature: string): Block => ({ type: 'thinking', thinking: '', signature });

/** A part as blocks, whole. A thought that says nothing and proves nothing is none. */
export function wholeBlocks(part: ComposedPart): readonly Block[] {
  switch (part.kind) {
    case 'text':
    case 'refusal':
      return [{ ...textBlock(part.text), ...citationsOf(part.citations) }];
    case 'reasoning':
      return reasoningBlocks(part);
    case 'tool_call': {
      const call = { ...toolBlock(part.id, part.name), input: argumentsObject(part.text) };
      return part.signature === undefined ? [call] : [proofBlock(part.signature), call];
    }
    case 'media':
      return [];
  }
}

export const textBlock = (text: string): Block => ({ type: 'text', text, citations: null });
export const thinkingBlock = (thinking: string, signature: string): Block => ({
  type: 'thinking',
  thinking,
  signature,
});
export const sealedBlock = (data: string): Block => ({ type: 'redacted_thinking', data });
export const toolBlock = (id: string, name: string): Block => ({ type: 'tool_use', id, name, input: {} });

/** Proof of a thought where the dialect has its signature; a seal only where there are words beside it. */
export const signatureOf = (signature: string | undefined, sealed: string | undefined): string =>
  sealed === undefined ? (signature ?? '') : sealAsSignature(sealed);

function reasoningBlocks(part: Extract<ComposedPart, { kind: 'reasoning' }>): readonly Block[] {
  const { text, signature, sealed } = part;
  if (text !== '' || signature !== undefined) return [thinkingBlock(text, signatureOf(signature, sealed))];
  return sealed === undefined ? [] : [sealedBlock(sealed)];
}

export const citationBlock = ({ url, title }: Citation): Block => ({
  type: 'web_search_result_location',
  url,
  title: title ?? null,
  // What was quoted is not told, and the vendor's own key to it exists nowhere else.
  cited_text: '',
  encrypted_index: '',
});

const citationsOf = (citations: readonly Citation[]): { citations?: readonly Block[] } =>
  citations.length === 0 ? {} : { citations: citations.map((citation) => citationBlock(citation)) };
