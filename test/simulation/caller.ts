/** Who asks: he may read slowly, or leave; he notices when he is told that his reply is whole. */
import type { Caller, CallerReply } from '../../src/gateway/ports.ts';
import type { Damage } from './gateway.ts';
import type { Truth } from './provider.ts';

export interface SimulatedCaller {
  readonly caller: Caller;
  /** A slow reader reads on; with `leaves`, one who was not slow goes away. */
  change(leaves: boolean): void;
}

export interface CallerOptions {
  readonly damage: Damage;
  readonly isSlow: () => boolean;
  /** Of the process that answers him: a dead one's bytes go nowhere. */
  readonly alive: () => boolean;
  readonly completed: () => void;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function createCaller(
  truth: Truth,
  { damage, isSlow, alive, completed }: CallerOptions,
): SimulatedCaller {
  const stream = truth.kind !== 'whole';
  let status = 0;
  let isComplete = false;
  let isGone = false;
  let isWaiting = false;
  let isOver = false;
  let resume: (() => void) | undefined;
  let left: (() => void) | undefined;
  const complete = (): void => {
    if (isComplete || isGone || status !== 200 || !alive()) return;
    isComplete = true;
    completed();
  };
  const reply: CallerReply = {
    head(given) {
      status = given;
    },
    write(bytes) {
      if (!stream || decoder.decode(bytes).includes('[DONE]')) complete();
      isWaiting = isSlow();
      return !isWaiting;
    },
    end() {
      isOver = true;
      complete();
    },
    break() {
      isOver = true;
    },
    onDrain: (then) => void (resume = then),
    onGone: (then) => void (left = then),
  };
  const body = encoder.encode(
    JSON.stringify({
      model: `sim/${truth.model}`,
      stream,
      user: `c${truth.call}`,
      messages: [{ role: 'user', content: 'Say a few words.' }],
    }),
  );
  const headers = [
    'authorization',
    'Bearer sim',
    'x-stripe-customer-id',
    truth.customer,
    'content-type',
    'application/json',
  ];
  return {
    caller: {
      method: 'POST',
      path: '/v1/chat/completions',
      query: '',
      headers,
      body: () => Promise.resolve(body),
      reply: damage.reply?.(reply) ?? reply,
    },
    change(leaves) {
      if (isWaiting) {
        isWaiting = false;
        resume?.();
      } else if (leaves && !isOver && !isGone) {
        isGone = true;
        left?.();
      }
    },
  };
}
