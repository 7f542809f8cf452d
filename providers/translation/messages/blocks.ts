/** The content blocks of an Anthropic message: whole, and as a stream opens them. */
import { argumentsObject, type ComposedPart, type ComposedThought } from '../composition.ts';
import { signedId, wrapProof } from '../proofs.ts';
import type { Citation } from '../reply.ts';

export type Block = { readonly type: string } & Readonly<Record<string, unknown>>;

/** A part as blocks, whole. A thought that says nothing and proves nothing is none. */
export function wholeBlocks(part: ComposedPart): readonly Block[] {
  switch (part.kind) {
    case 'text':
    case 'refusal':
      return [{ ...textBlock(part.text), ...citationsOf(part.citations) }];
    case 'reasoning':
      return reasoningBlocks(part);
    case 'tool_call':
      return [{ ...toolBlock(part), input: argumentsObject(part.text) }];
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
export const toolBlock = ({ id, name, signature }: ToolCall): Block => ({
  type: 'tool_use',
  id: signedId(id, signature),
  name,
  input: {},
});
type ToolCall = Pick<Extract<ComposedPart, { kind: 'tool_call' }>, 'id' | 'name'> & {
  readonly signature?: string | undefined;
};

/** What proves a thought, in the field of signatures and in that of sealed thoughts; the vendor's own as it is. */
export function proofsOf({ vendor, signature, sealed, id, text }: ComposedThought): {
  readonly signature: string;
  readonly data: string | undefined;
} {
  if (vendor === 'anthropic') return { signature: signature ?? '', data: sealed };
  if (signature === undefined && sealed === undefined) return { signature: '', data: undefined };
  const wrapped = wrapProof({ vendor, signature, sealed, id });
  return text === '' ? { signature: '', data: wrapped } : { signature: wrapped, data: undefined };
}

function reasoningBlocks(thought: ComposedThought): readonly Block[] {
  const { signature, data } = proofsOf(thought);
  if (data !== undefined) {
    const said = thought.text === '' ? [] : [thinkingBlock(thought.text, signature)];
    return [...said, sealedBlock(data)];
  }
  return thought.text === '' && signature === '' ? [] : [thinkingBlock(thought.text, signature)];
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
