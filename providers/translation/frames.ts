/** Events of a stream as bytes. */

const encoder = new TextEncoder();

export const jsonBytes = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

/** An event without a name. */
export const dataFrame = (value: unknown): Uint8Array => encoder.encode(`data: ${JSON.stringify(value)}\n\n`);

export type TypedEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

/** An event whose name is the `type` that its data says too. */
export const typedFrame = (value: TypedEvent): Uint8Array =>
  encoder.encode(`event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`);

export const DONE_FRAME: Uint8Array = encoder.encode('data: [DONE]\n\n');

export const NO_BYTES: readonly Uint8Array[] = [];
