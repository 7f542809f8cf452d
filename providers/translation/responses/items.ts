/** Output items of a response, made from the parts of a reply: whole, and as a stream first tells them. */
import type { ComposedPart, ComposedThought } from '../composition.ts';
import { writtenTokens } from '../chat/logprobs.ts';
import { signedId, wrapProof } from '../proofs.ts';
import type { Citation } from '../reply.ts';

type Json = Readonly<Record<string, unknown>>;
export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';
export type SpokenPart = Extract<ComposedPart, { kind: 'text' | 'refusal' }>;
export type CallPart = Extract<ComposedPart, { kind: 'tool_call' }>;
export type MediaPart = Extract<ComposedPart, { kind: 'media' }>;

/** All items of a reply; `last` is the status of the last one. A thought that says and proves nothing is none. */
export function outputItems(
  parts: readonly ComposedPart[],
  callId: string,
  last: ItemStatus,
): readonly Json[] {
  const groups: ComposedPart[][] = [];
  for (const part of parts) {
    const open = groups.at(-1);
    if (part.kind === 'reasoning' && isSilent(part)) continue;
    if (isSpoken(part) && open?.[0] !== undefined && isSpoken(open[0])) open.push(part);
    else groups.push([part]);
  }
  return groups.map((group, index) =>
    wholeItem(group, `${callId}_${index}`, index === groups.length - 1 ? last : 'completed'),
  );
}

export const isSpoken = (part: Pick<ComposedPart, 'kind'>): boolean =>
  part.kind === 'text' || part.kind === 'refusal';

export const isSilent = (thought: ComposedThought): boolean =>
  thought.text === '' && sealOf(thought) === undefined;

function wholeItem(group: readonly ComposedPart[], id: string, status: ItemStatus): Json {
  const [first] = group;
  switch (first?.kind) {
    case 'reasoning':
      return reasoningItem(id, first);
    case 'tool_call':
      return callItem(id, first, status);
    case 'media':
      return imageItem(id, first);
    default:
      return messageItem(
        id,
        group.filter((part): part is SpokenPart => isSpoken(part)),
        status,
      );
  }
}

export const messageItem = (id: string, parts: readonly SpokenPart[], status: ItemStatus): Json => ({
  id: `msg_${id}`,
  type: 'message',
  status,
  role: 'assistant',
  content: parts.map((part) => contentPart(part)),
});

export function contentPart({ kind, text, citations, logprobs }: SpokenPart): Json {
  if (kind === 'refusal') return { type: 'refusal', refusal: text };
  const annotations = citations.map((citation) => annotationOf(citation));
  return { type: 'output_text', text, annotations, logprobs: writtenTokens(logprobs) };
}

export const annotationOf = ({ url, title, start, end }: Citation): Json => ({
  type: 'url_citation',
  url,
  title: title ?? '',
  start_index: start ?? 0,
  end_index: end ?? 0,
});

export function reasoningItem(id: string, thought: ComposedThought): Json {
  const sealed = sealOf(thought);
  return {
    id: `rs_${id}`,
    type: 'reasoning',
    summary: thought.text === '' ? [] : [summaryPart(thought.text)],
    ...(sealed === undefined ? {} : { encrypted_content: sealed }),
  };
}

export const summaryPart = (text: string): Json => ({ type: 'summary_text', text });

/** What proves a thought, in the field of sealed thoughts; the vendor's own as it is. */
function sealOf({ vendor, signature, sealed, id }: ComposedThought): string | undefined {
  if (vendor === 'openai' && sealed !== undefined) return sealed;
  if (signature === undefined && sealed === undefined) return undefined;
  return wrapProof({ vendor, signature, sealed, id });
}

export const callItem = (id: string, call: CallPart, status: ItemStatus): Json => ({
  id: `fc_${id}`,
  type: 'function_call',
  status,
  arguments: call.text,
  call_id: signedId(call.id, call.signature),
  name: call.name,
});

export const imageItem = (id: string, { mediaType, base64 }: MediaPart): Json => ({
  id: `ig_${id}`,
  type: 'image_generation_call',
  status: 'completed',
  output_format: mediaType.replace('image/', ''),
  result: base64,
});
