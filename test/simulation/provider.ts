/**
 * The provider: it counts what it generates, whatever becomes of it, and says its reply piece by piece, when it is told to.
 * No sockets: the relay hands the pieces to the gateway's own sink.
 */
import { type Flow, type Relay, type ReplySink, UpstreamFailure } from '../../src/gateway/ports.ts';
import type { Clock, Owner } from './clock.ts';
import type { Dice } from './dice.ts';

/**
 * `stream` and `whole`: with a count. `zero`: one that says outright that nothing was generated. `silent`: no count.
 * `broken`: it breaks off. `busy`: 500 at first, then a stream. `refused`: 400.
 */
export type ScriptKind = 'stream' | 'whole' | 'zero' | 'silent' | 'broken' | 'busy' | 'refused';
const KINDS: readonly ScriptKind[] = [
  'stream',
  'stream',
  'stream',
  'whole',
  'whole',
  'zero',
  'silent',
  'broken',
  'busy',
  'refused',
];

/** The provider's own book: one entry a call. */
export interface Truth {
  readonly call: number;
  readonly customer: string;
  readonly model: string;
  readonly kind: ScriptKind;
  readonly input: number;
  readonly cached: number;
  readonly deltas: number;
  /** Times it was asked. */
  asked: number;
  /** Pieces of text that it sent, in all. */
  sent: number;
  /** It said its count. */
  told: boolean;
  /** It said its reply to the end. */
  finished: boolean;
  /** The gateway's clock when it did. */
  endedAtMs: number;
}

/** Tokens of one piece of text by the provider's count; the gateway's own estimate of it is lower. */
export const TOKENS_A_DELTA = 4;
export const outputOf = ({ kind, deltas }: Truth): number => (kind === 'zero' ? 0 : deltas * TOKENS_A_DELTA);

type Piece =
  | { readonly kind: 'head'; readonly status: number; readonly type: string }
  | { readonly kind: 'text' | 'bytes' | 'usage' | 'last'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' | 'fail' | 'finish' };

export interface Talk {
  readonly truth: Truth;
  readonly owner: Owner;
  readonly sink: ReplySink;
  readonly pieces: Piece[];
  paused: boolean;
  cut: boolean;
}

export interface ProviderOptions {
  readonly dice: Dice;
  readonly clock: Clock;
  readonly note: (what: string) => void;
  /** Told before a request is answered: the call must be on record by now. */
  readonly asked: (truth: Truth) => void;
}

export class Provider {
  readonly truths: Truth[] = [];
  #talks: Talk[] = [];
  readonly #options: ProviderOptions;

  constructor(options: ProviderOptions) {
    this.#options = options;
  }

  /** What a new call will meet with. */
  plan(customer: string): Truth {
    const { dice } = this.#options;
    const call = this.truths.length + 1;
    const input = 40 + dice.below(60);
    const truth: Truth = {
      call,
      customer,
      // Some calls share a model, so that their lines can be one event; the others are told apart to the end.
      model: dice.chance(0.3) ? 'shared' : `m${call}`,
      kind: dice.pick(KINDS) ?? 'stream',
      input,
      cached: dice.chance(0.3) ? dice.below(input) : 0,
      deltas: 1 + dice.below(4),
      asked: 0,
      sent: 0,
      told: false,
      finished: false,
      endedAtMs: 0,
    };
    this.truths.push(truth);
    return truth;
  }

  relayOf(owner: Owner): Relay {
    return {
      send: (request, sink) => {
        const text = (request.body ?? []).map((piece) => decoder.decode(piece)).join('');
        const call = Number(/"user":"c(\d+)"/.exec(text)?.[1]);
        const truth = this.truths[call - 1];
        if (truth === undefined) throw new Error(`The provider was asked for a call nobody made: ${text}`);
        truth.asked += 1;
        this.#options.note(`asked ${truth.call}`);
        this.#options.asked(truth);
        const talk: Talk = { truth, owner, sink, pieces: piecesOf(truth), paused: false, cut: false };
        this.#talks.push(talk);
        return flowOf(talk);
      },
    };
  }

  /** Those that have something to say, and are listened to. */
  get speaking(): readonly Talk[] {
    this.#talks = this.#talks.filter(({ cut, pieces, owner }) => !cut && pieces.length > 0 && owner.alive);
    return this.#talks.filter(({ paused }) => !paused);
  }

  /** The next piece of it. */
  say(talk: Talk): void {
    const { truth, sink } = talk;
    const piece = talk.pieces.shift();
    if (piece === undefined) return;
    this.#options.note(`says ${truth.call} ${piece.kind}`);
    switch (piece.kind) {
      case 'head':
        sink.head(piece.status, { 'content-type': piece.type });
        return;
      case 'text':
        truth.sent += 1;
        if (truth.kind === 'whole') truth.told = true;
        talk.paused = !sink.chunk(piece.bytes);
        return;
      case 'last':
        this.#finish(truth);
        talk.paused = !sink.chunk(piece.bytes);
        return;
      case 'usage':
        truth.told = true;
        talk.paused = !sink.chunk(piece.bytes);
        return;
      case 'bytes':
        talk.paused = !sink.chunk(piece.bytes);
        return;
      case 'finish':
        this.#finish(truth);
        sink.end();
        return;
      case 'end':
        sink.end();
        return;
      case 'fail':
        sink.fail(new UpstreamFailure('broken', 'broke off'));
    }
  }

  #finish(truth: Truth): void {
    truth.finished = true;
    truth.endedAtMs = this.#options.clock.nowMs;
  }
}

const flowOf = (talk: Talk): Flow => ({
  resume: () => void (talk.paused = false),
  abort: () => void (talk.cut = true),
  sent: () => true,
});

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const sse = (data: unknown): Uint8Array => encoder.encode(`data: ${JSON.stringify(data)}\n\n`);
const DONE = encoder.encode('data: [DONE]\n\n');
const identity = ({ call, asked, model }: Truth): object => ({ id: `chatcmpl-${call}-${asked}`, model });
const delta = (content: object, finish: string | null = null): object => ({
  choices: [{ index: 0, delta: content, finish_reason: finish }],
});

function usageOf(truth: Truth): object {
  const output = outputOf(truth);
  const { input, cached } = truth;
  const details = cached > 0 ? { prompt_tokens_details: { cached_tokens: cached } } : {};
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output, ...details };
}

function piecesOf(truth: Truth): Piece[] {
  const { kind, deltas, asked } = truth;
  const json = { kind: 'head', type: 'application/json' } as const;
  if (kind === 'refused' || (kind === 'busy' && asked === 1)) {
    const status = kind === 'refused' ? 400 : 500;
    const body = encoder.encode('{"error":{"message":"no","type":"server_error"}}');
    return [{ ...json, status }, { kind: 'bytes', bytes: body }, { kind: 'end' }];
  }
  if (kind === 'whole') {
    const message = { role: 'assistant', content: 'word '.repeat(deltas) };
    const choices = [{ index: 0, message, finish_reason: 'stop' }];
    const body = sse({ ...identity(truth), object: 'chat.completion', choices, usage: usageOf(truth) });
    return [{ ...json, status: 200 }, { kind: 'text', bytes: body.subarray(6) }, { kind: 'finish' }];
  }
  const text = Array.from({ length: deltas }, (): Piece => ({
    kind: 'text',
    bytes: sse({ ...identity(truth), ...delta({ content: 'word ' }) }),
  }));
  const head = { kind: 'head', status: 200, type: 'text/event-stream' } as const;
  if (kind === 'broken') return [head, ...text, { kind: 'fail' }];
  const stop = { kind: 'bytes', bytes: sse({ ...identity(truth), ...delta({}, 'stop') }) } as const;
  const usage = {
    kind: 'usage',
    bytes: sse({ ...identity(truth), choices: [], usage: usageOf(truth) }),
  } as const;
  return [
    head,
    ...text,
    stop,
    ...(kind === 'silent' ? [] : [usage]),
    { kind: 'last', bytes: DONE },
    { kind: 'end' },
  ];
}
