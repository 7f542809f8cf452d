/**
 * Responses in the background: the provider answers at once and goes on making them, so their usage comes later. The call
 * stays open, and is settled once: by the poll here, by the stream that began it, or by the customer's own look at it,
 * whichever sees the end first.
 */
import type { ProviderCall, ResponseReader } from '../../providers/provider.ts';
import type { BackgroundToOpen, DueResponse, StoredResponse } from '../ledger/background-port.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import { memberValue } from '../usage/json-scanner.ts';
import type { Metered } from '../usage/usage.ts';
import type { Call } from './call.ts';
import type { Flow, Relay, ReplySink } from './ports.ts';
import type { Resolver, Route } from './resolve.ts';
import type { Ending, Measured, Settler } from './settle.ts';

/** Until the first look, milliseconds; after it a response is looked at again when a fifth of its age has passed. */
const POLL_MS_FIRST = 1_000;
/** Between two looks, milliseconds: what a response cost is told to Stripe so late at most. */
const POLL_MS_MAX = 60_000;
/** One look, milliseconds. */
const LOOK_MS = 30_000;
/** Looks at a time. */
const LOOKS_MAX = 16;
/** Looks in a row that find the provider has no such response: some ten minutes of them, since a row of replicas may lag. */
const MISSES_MAX = 12;
/** A response that has not ended by then never will, milliseconds (48 h). */
const AGE_MS_MAX = 172_800_000;

/** Every other status is an end. */
const RUNNING: ReadonlySet<string> = new Set(['queued', 'in_progress']);
const hasEnded = ({ status }: Metered): boolean => status !== undefined && !RUNNING.has(status);

/** Whether the caller asked for a response in the background. */
export const isBackground = ({ endpoint, body, scan }: ProviderCall): boolean =>
  endpoint === 'responses' && memberValue(body, scan, 'background') === true;

/** Whether the reply is over and the response goes on. `status` is undefined in a stream that has not said how it ended. */
export function isUnfinished(call: Call, metered: Metered): boolean {
  if (call.endpoint !== 'responses' || metered.responseId === undefined || hasEnded(metered)) return false;
  if (call.target.route.provider.askStored === undefined || metered.kind === 'final') return false;
  return metered.status !== undefined || isBackground(call.request);
}

/**
 * What is recorded of a call that goes on in the background. While its stream is read the first look is far off: it is
 * for a crash.
 */
export const backgroundOf = (
  call: Call,
  responseId: string,
  at: { readonly attempt: number; readonly nowMs: number; readonly streams?: boolean },
): BackgroundToOpen => ({
  call: call.id,
  responseId,
  attempt: at.attempt,
  inputTokens: call.target.route.provider.estimateInput(call.request),
  plan: call.money?.plan ?? null,
  dueAtMs: at.nowMs + (at.streams === true ? POLL_MS_MAX : POLL_MS_FIRST),
});

export interface Background {
  /** Looks at what is due; answers after how many milliseconds the next is, undefined when there is none. */
  poll(): Promise<number | undefined>;
  /**
   * Settles the call of a response whose end the reader has seen; false while it goes on.
   *
   * @throws {LedgerUnavailable} when it could not be made durable.
   */
  seen(stored: StoredResponse, reader: ResponseReader): Promise<boolean>;
  /** Looks at one now: false while it goes on, or where its provider did not say. */
  look(stored: StoredResponse): Promise<boolean>;
  /** Ends the looks that are under way: a later start looks again. */
  stop(): void;
}

export interface BackgroundOptions {
  readonly ledger: Ledger;
  readonly resolver: Pick<Resolver, 'routes'>;
  readonly relay: Relay;
  readonly settler: Settler;
  readonly runtime: Runtime;
}

export function createBackground(options: BackgroundOptions): Background {
  const { ledger, runtime } = options;
  const looking = new Map<string, Flow>();

  const seen = (stored: StoredResponse, reader: ResponseReader): Promise<boolean> =>
    settleSeen(options, stored, reader);

  const look = async (stored: StoredResponse): Promise<boolean> => {
    const answer = await askOnce(options, stored, (flow) => looking.set(stored.call, flow));
    looking.delete(stored.call);
    if (answer.kind === 'reply') return seen(stored, answer.reader);
    if (answer.kind === 'missing' && 'misses' in stored) await missed(options, stored as DueResponse);
    else runtime.log('warn', 'background_unanswered', { request_id: stored.call, reason: answer.reason });
    return false;
  };

  const pollOne = async (due: DueResponse): Promise<void> => {
    if (due.background === undefined) return ledger.closeBackground(due.call);
    const age = runtime.now() - due.openedAtMs;
    if (age > AGE_MS_MAX) return giveUp(options, due, 'it did not end within 48 hours');
    const untilMs = runtime.now() + Math.min(POLL_MS_MAX, Math.max(POLL_MS_FIRST, age / 5));
    if (await ledger.putOffBackground(due, Math.round(untilMs))) runtime.defer(look(due));
  };

  return {
    seen,
    look,
    async poll() {
      const next = await ledger.nextBackground();
      const now = runtime.now();
      if (next === undefined || next > now) return next === undefined ? undefined : next - now;
      for (const due of await ledger.dueBackground(now, LOOKS_MAX)) {
        if (looking.size >= LOOKS_MAX) break;
        if (!looking.has(due.call)) await pollOne(due);
      }
      return POLL_MS_FIRST;
    },
    stop() {
      for (const flow of looking.values()) flow.abort();
      looking.clear();
    },
  };
}

type Answer =
  | { readonly kind: 'reply'; readonly reader: ResponseReader }
  | { readonly kind: 'missing' | 'unanswered'; readonly reason: string };

/** Asks the provider how the response stands. */
function askOnce(
  { resolver, relay, runtime }: BackgroundOptions,
  stored: StoredResponse,
  started: (flow: Flow) => void,
): Promise<Answer> {
  const route = resolver.routes.get(stored.provider);
  const ask = { kind: 'retrieve', id: stored.responseId, query: '', headers: {} } as const;
  const exchange = route?.provider.askStored?.(ask, route.upstream);
  if (route === undefined || exchange === undefined) {
    return Promise.resolve({
      kind: 'unanswered',
      reason: `the provider ${stored.provider} is not configured`,
    });
  }
  return new Promise((resolve) => {
    let reader: ResponseReader | undefined;
    let answered = 0;
    const over = (answer: Answer): void => {
      cancel();
      resolve(answer);
    };
    const unanswered = (reason: string): void => over({ kind: 'unanswered', reason });
    const sink: ReplySink = {
      head(status, headers) {
        answered = status;
        if (status === 200) reader = exchange.read({ status, headers });
      },
      chunk(bytes) {
        try {
          reader?.write(bytes);
        } catch (error) {
          flow.abort();
          unanswered(String(error));
        }
        return true;
      },
      end() {
        reader?.end();
        if (reader !== undefined) over({ kind: 'reply', reader });
        else over({ kind: answered === 404 ? 'missing' : 'unanswered', reason: `it answered ${answered}` });
      },
      fail: (error) => unanswered(error.message),
    };
    const flow = relay.send(exchange.request, sink, route.timeouts);
    const cancel = runtime.after(LOOK_MS, () => {
      flow.abort();
      unanswered(`it did not answer within ${LOOK_MS} ms`);
    });
    started(flow);
  });
}

async function settleSeen(
  options: BackgroundOptions,
  stored: StoredResponse,
  reader: ResponseReader,
): Promise<boolean> {
  const metered = reader.metered();
  const route = options.resolver.routes.get(stored.provider);
  if (!hasEnded(metered) || stored.background === undefined || route === undefined) return false;
  const call = callOf(stored, route);
  const ending: Ending = {
    outcome: 'finished',
    status: 200,
    reader,
    firstByteAtMs: undefined,
    attempt: stored.background.attempt,
    cancelled: false,
    endedAtMs: endOf(metered, stored, options.runtime.now()),
  };
  const measured = options.settler.measure(call, ending);
  await options.settler.settle(call, ending, withInput(measured, metered, stored.background.inputTokens));
  await options.ledger.closeBackground(stored.call);
  return true;
}

/** By the provider's own clock, unless that cannot be: it is the time of the bill. */
function endOf({ completedAtS }: Metered, { openedAtMs }: StoredResponse, nowMs: number): number {
  const told = (completedAtS ?? 0) * 1000;
  return told >= openedAtMs && told <= nowMs ? Math.round(told) : nowMs;
}

/** An estimate needs the request, which is gone: what was counted of it then stands in. */
function withInput(measured: Measured, metered: Metered, inputTokens: number): Measured {
  const [line] = measured.usage;
  if (measured.usageSource !== 'estimated' || metered.lines.length > 0 || line === undefined) return measured;
  return { ...measured, usage: [{ ...line, uncachedInput: inputTokens }] };
}

/** The call as it was, as far as a settlement must know it. */
function callOf(stored: StoredResponse, route: Route): Call {
  const upstreamModel = stored.model.slice(stored.provider.length + 1);
  const target = { route, upstreamModel, billedModel: stored.model };
  return {
    id: stored.call,
    customer: stored.customer,
    keyId: stored.keyId,
    endpoint: 'responses',
    dialect: 'openai',
    target,
    targets: [target],
    request: {
      endpoint: 'responses',
      model: upstreamModel,
      stream: stored.stream,
      body: new Uint8Array(),
      scan: { members: new Map(), insertAt: 0 },
      path: '/v1/responses',
      query: '',
      headers: {},
    },
    startedAtMs: stored.openedAtMs,
    // Whether anything is held for it is not kept here; the ledger knows.
    money: {
      balancePico: null,
      hasCredit: false,
      plan: stored.background?.plan ?? null,
      hold: { holdPico: 0n, outputPico: null },
    },
  };
}

async function missed(options: BackgroundOptions, due: DueResponse): Promise<void> {
  const misses = due.misses + 1;
  if (misses < MISSES_MAX) return options.ledger.missBackground(due.call, misses);
  return giveUp(options, due, `its provider answered ${misses} times that there is no such response`);
}

/** Nobody will ever say what it cost: what was seen of it is billed, and the operator is told. */
async function giveUp(
  { ledger, runtime }: BackgroundOptions,
  due: DueResponse,
  reason: string,
): Promise<void> {
  const lost = await ledger.lostBackground(due.call, runtime.now());
  await ledger.settle({ ...lost, heldBy: { customer: due.customer, keyId: due.keyId } });
  await ledger.closeBackground(due.call);
  const { call, customer, model, responseId } = due;
  const told = { customer, model, response_id: responseId, usage_source: lost.usageSource, reason };
  runtime.log('error', 'background_lost', { request_id: call, ...told });
}
