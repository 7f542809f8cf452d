/** Evidence for a crash: what a reply that streams has surely cost so far, written now and then. */
import type { ResponseReader } from '../../providers/provider.ts';
import type { Runtime } from '../runtime.ts';
import { isBackground } from './background.ts';
import type { Call } from './call.ts';
import type { Settler } from './settle.ts';

/** It is written this often, in milliseconds. */
const CHECKPOINT_EVERY_MS = 250;

/** Told of each piece of a call's stream; `call` names the target of the attempt that it came by. */
export type Checkpoints = (call: Call, reader: ResponseReader, attempt: number) => void;

export function createCheckpoints(
  { request, startedAtMs }: Call,
  { settler, runtime }: { readonly settler: Settler; readonly runtime: Runtime },
): Checkpoints {
  let writtenAtMs = startedAtMs;
  // A response in the background goes on whatever becomes of this stream: its id is on record from the first word.
  let isDue = isBackground(request);
  return (call, reader, attempt) => {
    const now = runtime.now();
    if (now - writtenAtMs < CHECKPOINT_EVERY_MS && !isDue) return;
    isDue = false;
    writtenAtMs = now;
    runtime.defer(settler.checkpoint(call, reader, attempt));
  };
}
