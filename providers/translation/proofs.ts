/**
 * Proofs of thought on their way through a dialect that is not their vendor's. A vendor wants its signatures and sealed
 * thoughts back unchanged with the next turn, and nobody else can read them, so they travel with the caller's own copy of
 * the conversation: wrapped up with the vendor's name, in the field that his dialect has for its own vendor's.
 *
 * | caller's dialect | a thought of another vendor                                                              |
 * | ---------------- | ---------------------------------------------------------------------------------------- |
 * | messages         | `thinking.signature`, or `redacted_thinking.data` where there is no text, is `wrapProof` |
 * | responses        | a reasoning item's `encrypted_content` is `wrapProof`; its text is the `summary`         |
 * | chat             | `message.reasoning_content` is the text; `message.reasoning_details` has one             |
 * |                  | `{ type: 'reasoning.text', text, signature }` for each thought, its signature wrapped    |
 * | gemini           | `thoughtSignature` of the part behind the thought is `wrapProof`; where nothing follows, |
 * |                  | of a thought without words                                                               |
 *
 * A thought of the dialect's own vendor keeps the vendor's own bytes. A signature that belongs to a tool call (Google's)
 * stands in the call's id, which every client returns: `signedId`.
 */
import { isRecord, parseJson, textOf } from '../../src/usage/json-value.ts';
import type { Vendor } from './conversation.ts';

export interface Proof {
  readonly vendor: Vendor;
  readonly signature?: string | undefined;
  readonly sealed?: string | undefined;
  readonly id?: string | undefined;
}

const PREFIX = 'fgproof_';
const VENDORS: ReadonlySet<unknown> = new Set<Vendor>(['openai', 'anthropic', 'google', 'compatible']);

export const wrapProof = ({ vendor, signature, sealed, id }: Proof): string =>
  PREFIX + toBase64Url(JSON.stringify({ vendor, signature, sealed, id }));

/** What `wrapProof` wrapped; undefined for anything else, a vendor's own signature for one. */
export function unwrapProof(text: string): Proof | undefined {
  if (!text.startsWith(PREFIX)) return undefined;
  const proof = parseJson(fromBase64Url(text.slice(PREFIX.length)));
  if (!isRecord(proof) || !isVendor(proof['vendor'])) return undefined;
  return {
    vendor: proof['vendor'],
    signature: textOf(proof['signature']),
    sealed: textOf(proof['sealed']),
    id: textOf(proof['id']),
  };
}

/** Letters, digits, dashes and underscores alone: what every vendor takes for an id. */
const MARK = '_fgsig_';

/** The id of a tool call that carries its signature. */
export const signedId = (id: string, signature: string | undefined): string =>
  signature === undefined ? id : id + MARK + toBase64Url(signature);

/** The id as the vendor knows it, and the signature where it carries one. */
export function unsignedId(id: string): { readonly id: string; readonly signature: string | undefined } {
  const mark = id.lastIndexOf(MARK);
  if (mark < 0) return { id, signature: undefined };
  const signature = fromBase64Url(id.slice(mark + MARK.length));
  return signature === '' ? { id, signature: undefined } : { id: id.slice(0, mark), signature };
}

const isVendor = (value: unknown): value is Vendor => VENDORS.has(value);

function toBase64Url(text: string): string {
  let binary = '';
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** Empty for what is no such text. */
function fromBase64Url(text: string): string {
  if (!/^[\w-]*$/.test(text) || text.length % 4 === 1) return '';
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return new TextDecoder().decode(Uint8Array.from(binary, (letter) => letter.charCodeAt(0)));
}
