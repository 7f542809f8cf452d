/** A reply that is written into a `Response`: at the reader's pace, and never without an end. */
import type { CallerReply } from '../gateway/ports.ts';

/** Bytes that may wait in the response's stream before the upstream is asked to pause: 64 KiB. */
const QUEUE_BYTES_MAX = 64 * 1024;

/** Between a reply's last byte and its breaking off, milliseconds. */
const BREAK_AFTER_MS = 25;

export class FetchReply implements CallerReply {
  /** Settles as soon as the reply's head is known. */
  readonly response: Promise<Response>;
  readonly #resolve: (response: Response) => void;
  readonly #body: ReadableStream<Uint8Array>;
  readonly #watch: StallWatch;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #onDrain: (() => void) | undefined;
  #onGone: (() => void) | undefined;
  #over = false;
  #gone = false;
  /** The reader has taken everything and asked for more. */
  #waiting = false;
  #written = 0;

  constructor(signal: AbortSignal, stalledMs: number) {
    ({ promise: this.response, resolve: this.#resolve } = Promise.withResolvers<Response>());
    this.#watch = createStallWatch(stalledMs, {
      queued: () => this.#queued(),
      taken: () => this.#written - this.#queued(),
      stalled: () => {
        this.#left();
        this.#controller?.error(new Error('The caller took no bytes.'));
      },
    });
    this.#body = new ReadableStream<Uint8Array>(
      {
        start: (started) => void (this.#controller = started),
        pull: () => this.#pulled(),
        cancel: () => this.#left(),
      },
      // A mark of 0, so that `pull` means: all was read and the reader waits for more.
      new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
    );
    signal.addEventListener('abort', () => this.#left(), { once: true });
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    const { kind, response } = responseOf(status, headers, this.#body);
    this.#resolve(response);
    if (kind === 'bodiless') this.#over = true;
    // Not at once: who calls is in the midst of answering.
    if (kind === 'failed') queueMicrotask(() => this.#left());
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over || bytes.length === 0) return true;
    this.#waiting = false;
    this.#written += bytes.length;
    this.#controller?.enqueue(bytes);
    const flowing = this.#queued() < QUEUE_BYTES_MAX;
    if (!flowing) this.#watch.waits();
    return flowing;
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#controller?.close();
  }

  break(): void {
    if (this.#over) return;
    this.#over = true;
    // An error discards what is still queued, here and at each hop up to the caller, so it waits until all was read.
    const fail = (): void =>
      void setTimeout(() => this.#controller?.error(new Error('The reply broke off.')), BREAK_AFTER_MS);
    if (this.#waiting) fail();
    else this.#onDrain = fail;
  }

  onDrain(resume: () => void): void {
    this.#onDrain = resume;
  }

  onGone(told: () => void): void {
    this.#onGone = told;
    if (this.#gone) told();
  }

  #queued(): number {
    return -(this.#controller?.desiredSize ?? 0);
  }

  #pulled(): void {
    this.#waiting = true;
    this.#watch.moves();
    this.#onDrain?.();
  }

  #left(): void {
    this.#watch.moves();
    if (this.#over) return;
    this.#over = true;
    this.#gone = true;
    this.#onGone?.();
  }
}

interface StallWatch {
  /** Bytes wait for the reader. */
  waits(): void;
  /** He has taken all. */
  moves(): void;
}

/** Looks at most once in so long: a reader who took a byte meanwhile is slow, not gone. */
function createStallWatch(
  stalledMs: number,
  reader: { queued(): number; taken(): number; stalled(): void },
): StallWatch {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = (takenBefore: number): void => {
    timer = undefined;
    if (reader.queued() === 0) return;
    const taken = reader.taken();
    if (taken > takenBefore) timer = setTimeout(look, stalledMs, taken);
    else reader.stalled();
  };
  return {
    waits: () => void (timer ??= setTimeout(look, stalledMs, reader.taken())),
    moves() {
      clearTimeout(timer);
      timer = undefined;
    },
  };
}

interface MadeResponse {
  /** `bodiless`: nothing that is written belongs to it. `failed`: it is not the reply that was meant. */
  readonly kind: 'whole' | 'bodiless' | 'failed';
  readonly response: Response;
}

/** Statuses whose replies have no body: `Response` throws where they are given one. */
const BODILESS = new Set([204, 205, 304]);

/**
 * `Response` takes statuses of 200 to 599 and throws at others, and at headers that are none. A reply that is not made
 * would leave the caller waiting for ever, so a status that it does not take becomes 502, and anything else 500.
 */
function responseOf(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: ReadableStream<Uint8Array>,
): MadeResponse {
  const code = { 'x-faregate-error': 'upstream_error' };
  try {
    if (BODILESS.has(status)) return { kind: 'bodiless', response: new Response(null, { status, headers }) };
    const given =
      status >= 200 && status < 600 ? { status, headers } : { status: 502, headers: { ...headers, ...code } };
    return { kind: 'whole', response: new Response(body, given) };
  } catch (error) {
    const message = `The gateway could not make its reply: ${String(error)}`;
    const init = { status: 500, headers: { 'x-faregate-error': 'internal_error' } };
    return {
      kind: 'failed',
      response: Response.json(
        { error: { message, type: 'server_error', param: null, code: 'internal_error' } },
        init,
      ),
    };
  }
}
