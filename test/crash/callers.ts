/** Callers that never stop asking: plain and streamed, some of whom leave early, for several customers. */
import { randomNumbers } from '../../src/simulator/faults.ts';
import type { CallerEntry } from './books.ts';
import { SERVICE_KEY } from './gateway-process.ts';

export interface Load {
  readonly callers: CallerEntry[];
  /** Where calls go from now on; undefined makes the callers wait. */
  aim(url: string | undefined): void;
  /** Lets every caller end the call he is in. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  readonly seed: number;
  readonly lanes: number;
  readonly customers: readonly string[];
  /** No caller leaves early: for a load of which every reply must come whole. */
  readonly patient?: boolean;
}

/** Calls of a model of their own can be told apart in every book; the others are summed there. */
const SHARED_MODELS = 3;
const SHARED_SHARE = 0.25;
const STREAM_SHARE = 0.6;
const LEAVING_SHARE = 0.15;

export function startLoad({ seed, lanes, customers, patient = false }: LoadOptions): Load {
  const callers: CallerEntry[] = [];
  const random = randomNumbers(seed);
  let target: string | undefined;
  let aimed = Promise.withResolvers<void>();
  let stopped = false;

  const lane = async (): Promise<void> => {
    for (;;) {
      if (target === undefined && !stopped) await aimed.promise;
      if (stopped) return;
      if (target === undefined) continue;
      const url = target;
      const plan = planCall(random, callers.length, patient);
      const customer = customers[Math.floor(random() * customers.length)] ?? '';
      const entry: CallerEntry = { tag: plan.tag, customer, model: plan.model, complete: false };
      callers.push(entry);
      const ending = await call(url, plan, entry);
      // A gateway that was killed a moment ago still has its address here.
      if (ending === 'broken' && target === url) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const running = Array.from({ length: lanes }, lane);
  return {
    callers,
    aim(url) {
      target = url;
      if (url === undefined) return;
      aimed.resolve();
      aimed = Promise.withResolvers();
    },
    async stop() {
      stopped = true;
      aimed.resolve();
      await Promise.all(running);
    },
  };
}

interface Plan {
  readonly tag: string;
  readonly model: string;
  readonly stream: boolean;
  readonly asksUsage: boolean;
  readonly tokens: number;
  readonly words: number;
  /** After so many milliseconds. */
  readonly leavesMs: number | undefined;
}

function planCall(random: () => number, number: number, patient: boolean): Plan {
  const shared = random() < SHARED_SHARE;
  return {
    tag: `t${number}`,
    model: shared ? `shared-${Math.floor(random() * SHARED_MODELS)}` : `own-${number}`,
    stream: random() < STREAM_SHARE,
    asksUsage: random() < 0.3,
    // Streams of up to a second, so that some are old enough to have left evidence.
    tokens: 1 + Math.floor(random() ** 2 * 120),
    words: 1 + Math.floor(random() * 40),
    leavesMs: !patient && random() < LEAVING_SHARE ? random() * 200 : undefined,
  };
}

/** One plain call of a model of its own. */
export async function callOnce(url: string, tag: string, customer: string): Promise<CallerEntry> {
  const entry: CallerEntry = { tag, customer, model: `own-${tag}`, complete: false };
  const plan = { tag, model: entry.model, stream: false, asksUsage: false, tokens: 4, words: 5 };
  await call(url, { ...plan, leavesMs: undefined }, entry);
  return entry;
}

async function call(url: string, plan: Plan, entry: CallerEntry): Promise<'whole' | 'broken'> {
  const leave = new AbortController();
  const timer = plan.leavesMs === undefined ? undefined : setTimeout(() => leave.abort(), plan.leavesMs);
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${SERVICE_KEY}`,
        'x-stripe-customer-id': entry.customer,
        'x-test-call': entry.tag,
        'content-type': 'application/json',
      },
      body: bodyOf(plan),
      signal: leave.signal,
    });
    entry.status = response.status;
    const requestId = response.headers.get('x-request-id');
    if (requestId !== null) entry.requestId = requestId;
    const text = await response.text();
    entry.code = response.headers.get('x-faregate-error') ?? undefined;
    entry.complete =
      response.status === 200 && (plan.stream ? text.endsWith('data: [DONE]\n\n') : isJson(text));
    return 'whole';
  } catch (error) {
    if (error instanceof TypeError || (error instanceof Error && error.name === 'AbortError'))
      return 'broken';
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

const bodyOf = ({ model, stream, asksUsage, tokens, words }: Plan): string =>
  JSON.stringify({
    model,
    messages: [{ role: 'user', content: Array.from({ length: words }, () => 'fare').join(' ') }],
    max_tokens: tokens,
    ...(stream ? { stream } : {}),
    ...(stream && asksUsage ? { stream_options: { include_usage: true } } : {}),
  });

function isJson(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object';
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
