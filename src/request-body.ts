/** A request's body, read up to a bound. */
import { Refusal } from './errors.ts';

/**
 * The body, or undefined as soon as it is longer than that: anyone may send, and nobody is to fill the memory.
 *
 * @throws {Refusal} 400 when it breaks off: who sent it has left, and that is no defect of ours.
 */
export async function bytesUpTo(bytesMax: number, request: Request): Promise<Uint8Array | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of arriving(request)) {
    length += piece.length;
    if (length > bytesMax) return undefined;
    pieces.push(piece);
  }
  return new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

/**
 * The same as text.
 *
 * @throws {Refusal} 413 as soon as it is longer than `bytesMax`, 400 when it breaks off.
 */
export async function textUpTo(bytesMax: number, request: Request): Promise<string> {
  const body = await bytesUpTo(bytesMax, request);
  if (body !== undefined) return new TextDecoder().decode(body);
  throw new Refusal('request_too_large', `The body is larger than ${String(bytesMax)} bytes.`);
}

async function* arriving(request: Request): AsyncGenerator<Uint8Array> {
  try {
    yield* request.body ?? [];
  } catch (error) {
    throw new Refusal('invalid_request', `The body broke off: ${String(error)}`);
  }
}
