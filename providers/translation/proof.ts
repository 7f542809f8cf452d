/**
 * Vendors prove and seal what their models thought, and want it back unchanged. A caller of another dialect must carry it
 * between, so it is put where his dialect keeps such things. What is read back knows its kind by a mark that base64, which
 * all of them are, cannot begin with.
 *
 * | dialect   | a signature of thoughts           | sealed thoughts                                        | a tool call's signature |
 * | --------- | --------------------------------- | ------------------------------------------------------ | ----------------------- |
 * | messages  | `thinking.signature`              | `redacted_thinking.data`; beside text, marked, as the signature | an empty thinking block before the call, with it |
 * | responses | `encrypted_content`, marked       | `encrypted_content`                                    | a reasoning item without summary before the call, marked |
 * | chat      | `reasoning_details[]`, type `reasoning.text`, `signature` | the same, type `reasoning.encrypted`, `data` | `tool_calls[].extra_content.google.thought_signature` |
 * | gemini    | `thoughtSignature` of the thought | the same, marked                                       | `thoughtSignature` of the call |
 *
 * So a thought without words that carries a signature, right before a tool call, is that call's.
 */

const SEALED = 'sealed:';
const SIGNATURE = 'signature:';

/** A seal where a signature is expected, and what it was. */
export const sealAsSignature = (sealed: string): string => SEALED + sealed;
/** A signature where a seal is expected. */
export const signatureAsSeal = (signature: string): string => SIGNATURE + signature;

export interface Proof {
  readonly signature?: string;
  readonly sealed?: string;
}

/** What stands where a dialect has signatures. */
export const proofOfSignature = (text: string): Proof =>
  text.startsWith(SEALED) ? { sealed: text.slice(SEALED.length) } : { signature: text };

/** What stands where a dialect has sealed thoughts. */
export const proofOfSeal = (text: string): Proof =>
  text.startsWith(SIGNATURE) ? { signature: text.slice(SIGNATURE.length) } : { sealed: text };
