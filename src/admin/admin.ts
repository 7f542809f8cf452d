/** `/admin/v1`: what the operator, the command line and the checks read and change. Opened by the admin key only. */
import { Hono } from 'hono';
import { z } from 'zod';
import type { Withdrawal } from '../billing/delivery/withdrawals.ts';
import { Refusal } from '../errors.ts';
import type { RecordRequest } from '../app.ts';
import type { RecordedUsage } from '../billing/reads/usage-record.ts';
import type { Keys } from '../keys/keys.ts';
import type { CallView, EventState, EventView, Ledger, Totals } from '../ledger/ledger.ts';
import type { Crypto } from '../runtime.ts';
import { formatUsd } from '../usage/money.ts';
import { usageFromJson } from '../usage/usage-json.ts';
import { addUnits, inputTokens, outputTokens, type Units, type UsageLine } from '../usage/usage.ts';
import { createKeyRoutes } from './keys.ts';
import { sent, sentNothing } from './request.ts';

export interface AdminOptions {
  readonly ledger: Ledger;
  readonly keys: Keys;
  readonly crypto: Crypto;
  /** Secrets that open these routes: the admin key, and the one a running gateway lends its own command line. */
  readonly secrets: readonly string[];
  readonly now: () => number;
  /** Writes what could not be written before, and delivers what is due now; answers when the pass is over. */
  readonly flush: () => Promise<unknown>;
  /** The routes about customers and their money. */
  readonly money: Hono;
  /** Takes back from Stripe an event that it accepted. */
  readonly withdraw?: ((identifier: string) => Promise<Withdrawal>) | undefined;
  /** More routes for the operator, below the same path. */
  readonly more?: readonly Hono[] | undefined;
  /** What delivery has to say: of its age, of parked events, of the clock. */
  readonly alarms?: (() => Readonly<Record<string, string | number>>) | undefined;
}

const foundSchema = z.strictObject({
  found: z.enum(['delivered', 'lost'], 'say what was found, "delivered" or "lost"'),
});

export function createAdmin(options: AdminOptions): Hono {
  const { ledger } = options;
  const admin = new Hono();
  admin.use(async (c, next) => {
    authoriseAdmin(options, c.req);
    await next();
  });

  admin.route('/', options.money);

  admin.get('/calls', async (c) => {
    const { customer, id, state } = c.req.query();
    const page = await ledger.calls({
      customer,
      id,
      state: callState(state),
      ...paging(c.req.query(), CALL_CURSOR),
    });
    return c.json({ data: page.data.map(callJson), next_cursor: page.nextCursor });
  });
  admin.get('/events', async (c) => {
    const { customer, call, state, identifier } = c.req.query();
    const filter = { customer, call, identifier, state: eventState(state) };
    const page = await ledger.events({ ...filter, ...paging(c.req.query(), EVENT_CURSOR) });
    return c.json({ data: page.data.map(eventJson), next_cursor: page.nextCursor });
  });
  admin.post('/events/:identifier/retry', async (c) => {
    const identifier = c.req.param('identifier');
    await sentNothing(c.req.raw);
    if (!(await ledger.retryEvent(identifier, options.now()))) throw await notRefused(ledger, identifier);
    return c.json({ identifier, state: 'pending' });
  });
  admin.post('/events/:identifier/resolve', async (c) => {
    const identifier = c.req.param('identifier');
    const { found } = await sent(c.req.raw, foundSchema);
    if (!(await ledger.resolveEvent(identifier, found, options.now())))
      throw new Refusal('not_found', `No quarantined event has the identifier ${identifier}.`);
    return c.json({ identifier, state: found === 'delivered' ? 'accepted' : 'pending' });
  });
  admin.post('/events/:identifier/cancel', async (c) => {
    const identifier = c.req.param('identifier');
    await sentNothing(c.req.raw);
    if (!(await ledger.cancelEvent(identifier))) await withdrawn(options, identifier);
    return c.json({ identifier, state: 'cancelled' });
  });
  admin.get('/totals', async (c) =>
    c.json({
      ...totalsJson(await ledger.totals(c.req.query('customer'))),
      delivery: options.alarms?.() ?? {},
    }),
  );
  admin.post('/flush', async (c) => {
    await sentNothing(c.req.raw);
    return c.json((await options.flush()) ?? {});
  });

  admin.route('/', createKeyRoutes(options));
  for (const routes of options.more ?? []) admin.route('/', routes);
  return admin;
}

/** `POST /v1/usage/record`: the operator's, and answered 201 the first time and 200 after. */
export const createRecord =
  (
    options: Pick<AdminOptions, 'crypto' | 'secrets'>,
    record: (body: unknown) => Promise<RecordedUsage>,
  ): ((request: RecordRequest) => Promise<Response>) =>
  async (request) => {
    authoriseAdmin(options, request);
    const { status, identifier, event, timestampMs } = await record(parseJson(request.body));
    const json = { status, identifier, event, timestamp: isoTime(timestampMs) };
    return Response.json(json, { status: status === 'recorded' ? 201 : 200 });
  };

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Refusal('invalid_request', `The body is no JSON: ${String(error)}`);
  }
}

/**
 * Passes a request that carries one of the secrets, as a Bearer token or in x-api-key.
 *
 * @throws {Refusal} 401 otherwise.
 */
export function authoriseAdmin(
  options: Pick<AdminOptions, 'crypto' | 'secrets'>,
  request: { header(name: string): string | undefined },
): void {
  const bearer = /^Bearer +(\S+)$/i.exec(request.header('authorization') ?? '')?.[1];
  const secret = request.header('x-api-key') ?? bearer ?? '';
  if (options.secrets.some((known) => options.crypto.equal(known, secret))) return;
  throw new Refusal(
    'invalid_api_key',
    'This needs the admin key (FAREGATE_ADMIN_KEY) as "Authorization: Bearer ...".',
  );
}

/** A quarantined event may be with Stripe already: whoever sends it again says so in so many words. */
async function notRefused(ledger: Ledger, identifier: string): Promise<Refusal> {
  const [event] = (await ledger.events({ identifier, limit: 1 })).data;
  if (event?.state !== 'quarantined')
    return new Refusal('not_found', `No refused event has the identifier ${identifier}.`);
  return new Refusal(
    'invalid_request',
    `Stripe may have ${identifier} already and would count it again. Compare with Stripe's usage of ${event.customer}, ` +
      'then `faregate events resolve` it: --delivered if Stripe has it, --lost if not.',
  );
}

/** What Stripe has already, it may take back. */
async function withdrawn({ withdraw }: AdminOptions, identifier: string): Promise<void> {
  const result = await withdraw?.(identifier);
  if (result?.kind === 'cancelled') return;
  throw new Refusal(
    'not_found',
    `The event ${identifier} cannot be cancelled. ${result?.message ?? 'No gateway is running to ask Stripe.'}`,
  );
}

/** A call's id; an event's time and identifier. */
const CALL_CURSOR = /^req_[0-9a-z]{1,40}$/;
const EVENT_CURSOR = /^\d{1,15}\.\w{1,100}$/;

/** Rows on a page: 100 unless asked, 1,000 at most; and where it begins. */
const paging = (
  query: Readonly<Record<string, string>>,
  cursorForm: RegExp,
): { cursor: string | undefined; limit: number } => {
  const limit = Number(query.limit ?? 100);
  if (query.cursor !== undefined && !cursorForm.test(query.cursor)) {
    throw new Refusal('invalid_request', 'cursor must be the next_cursor of a page of this list.', {
      param: 'cursor',
    });
  }
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1_000) return { cursor: query.cursor, limit };
  throw new Refusal('invalid_request', `limit must be a whole number from 1 to 1000, not "${query.limit}".`, {
    param: 'limit',
  });
};

const EVENT_STATES: readonly EventState[] = [
  'pending',
  'sending',
  'accepted',
  'confirmed',
  'refused',
  'ambiguous',
  'quarantined',
  'expired',
  'cancelled',
];
const eventState = (state: string | undefined): EventState | undefined => {
  const known = EVENT_STATES.find((one) => one === state);
  if (known !== undefined || state === undefined) return known;
  throw new Refusal('invalid_request', `state must be one of ${EVENT_STATES.join(', ')}, not "${state}".`, {
    param: 'state',
  });
};

const callState = (state: string | undefined): 'open' | 'settled' | undefined => {
  if (state === undefined || state === 'open' || state === 'settled') return state;
  throw new Refusal('invalid_request', `state must be open or settled, not "${state}".`, { param: 'state' });
};

export const callJson = (call: CallView): object => ({
  id: call.id,
  customer: call.customer,
  key_id: call.keyId,
  endpoint: call.endpoint,
  provider: call.provider,
  model: call.model,
  stream: call.stream,
  state: call.state,
  outcome: call.outcome,
  status: call.status,
  usage: usageJson(call),
  usage_source: call.usageSource,
  cost_usd: call.costPico === null ? null : formatUsd(BigInt(call.costPico)),
  response_id: call.responseId,
  opened_at: isoTime(call.openedAtMs),
  ended_at: isoTime(call.endedAtMs),
  events: call.events.map(eventJson),
  attempts: attemptsJson(call),
});

/** Those that failed, which cost the customer nothing, and the one that ended the call: the customer's bill is of it alone. */
function attemptsJson(call: CallView): readonly unknown[] {
  const ended = { ...call, attempt: call.attempts.length + 1, failure: null };
  return [...call.attempts, ended].map((attempt) => ({
    attempt: attempt.attempt,
    provider: attempt.provider,
    model: attempt.model,
    failure: attempt.failure,
    status: attempt.status,
    usage: usageJson(attempt),
    usage_source: attempt.usageSource,
    cost_usd: attempt.costPico === null ? null : formatUsd(BigInt(attempt.costPico)),
    billed: attempt.failure === null && call.lines.length > 0,
    response_id: attempt.responseId,
    ended_at: isoTime(attempt.endedAtMs),
  }));
}

/** Totals as they are billed, and the classes behind them. */
function usageJson(call: Pick<CallView, 'usageJson'>): unknown {
  if (call.usageJson === null) return null;
  const lines = usageFromJson(call.usageJson);
  const sum = (count: (line: UsageLine) => number): number =>
    lines.reduce((total, line) => total + count(line), 0);
  return {
    input_tokens: sum(inputTokens),
    output_tokens: sum(outputTokens),
    uncached_input_tokens: sum((line) => line.uncachedInput),
    cached_input_tokens: sum((line) => line.cacheRead),
    cache_write_tokens: sum((line) => line.cacheWrite + line.cacheWrite1h),
    reasoning_tokens: sum((line) => line.reasoning),
    audio_input_tokens: sum((line) => line.audioInput),
    audio_output_tokens: sum((line) => line.audioOutput),
    image_input_tokens: sum((line) => line.imageInput),
    image_output_tokens: sum((line) => line.imageOutput),
    units: lines.reduce<Units | undefined>((total, line) => addUnits(total, line.units), undefined) ?? {},
    served_models: lines.map((line) => line.servedModel),
  };
}

const eventJson = (event: EventView): unknown => ({
  identifier: event.identifier,
  event_name: event.eventName,
  customer: event.customer,
  model: event.model,
  token_type: event.tokenType,
  value: event.value,
  timestamp: isoTime(event.timestampMs),
  state: event.state,
  attempts: event.attempts,
  not_before: isoTime(event.notBeforeMs),
  accepted_at: isoTime(event.acceptedAtMs),
  last_error: event.lastError,
  destination: event.destination,
  transport: event.transport,
  replaces: event.replaces,
  calls: event.calls,
});

const totalsJson = (totals: Totals): Record<string, unknown> => ({
  open_calls: totals.openCalls,
  settled_calls: totals.settledCalls,
  lines: totals.lines.map(({ model, tokenType, tokens }) => ({ model, token_type: tokenType, tokens })),
  events: totals.events.map(({ state, count, tokens, oldestMs }) => ({
    state,
    count,
    tokens,
    oldest: isoTime(oldestMs),
  })),
  unsealed_lines: totals.unsealedLines,
  cost_usd: formatUsd(BigInt(totals.costPico)),
});

const isoTime = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
