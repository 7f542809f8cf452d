/** The looks at responses in the background, on a clock and a provider that are given. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openai } from '../../providers/openai.ts';
import type { UpstreamRequest } from '../../providers/provider.ts';
import { type Background, createBackground } from '../../src/gateway/background.ts';
import { UpstreamFailure, type Relay } from '../../src/gateway/ports.ts';
import type { Route } from '../../src/gateway/resolve.ts';
import { createSettler } from '../../src/gateway/settle.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { violations } from '../../src/ledger/invariants.ts';
import type { CallView, Ledger } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import type { Runtime } from '../../src/runtime.ts';
import { upstream } from '../support/chat.ts';
import { bytesOf } from '../support/chunks.ts';
import { openTemporary, type TemporaryDatabase } from '../support/sqlite.ts';
import { STORED_USAGE } from '../support/stored.ts';

const OPENED_AT_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const MODEL = 'openai/gpt-plain';

let temporary: TemporaryDatabase;
let now: number;
let asked: UpstreamRequest[];
/** What the provider answers: a status and a body, or nothing at all. */
let answer: { status: number; body: object } | undefined;
let logged: string[];
let running: Promise<unknown>[];

beforeEach(async () => {
  temporary = await openTemporary();
  await migrate(temporary.database);
  [now, asked, answer, logged, running] = [OPENED_AT_MS, [], { status: 200, body: {} }, [], []];
});
afterEach(async () => {
  expect(await violations(temporary.database)).toEqual([]);
  await temporary.close();
});

const runtime: Runtime = {
  now: () => now,
  id: () => 'x',
  defer: (work) => void running.push(work),
  after: () => () => undefined,
  log: (_level, event) => void logged.push(event),
};
const relay: Relay = {
  send(request, sink) {
    asked.push(request);
    queueMicrotask(() => {
      if (answer === undefined) return sink.fail(new UpstreamFailure('unreachable', 'could not be reached'));
      sink.head(answer.status, { 'content-type': 'application/json' });
      sink.chunk(bytesOf(JSON.stringify(answer.body)));
      sink.end();
    });
    return { sent: () => true, resume: () => undefined, abort: () => undefined };
  },
};

function boot(bootId: string): { ledger: Ledger; background: Background } {
  const ledger = createLedger({ database: temporary.database, bootId });
  const settler = createSettler({
    ledger,
    rater: { costPico: () => 0n, version: 'test' },
    runtime,
    tokenTypes: ['input', 'output'],
    billedName: (_type, model) => model,
    onMissingUsage: 'estimate',
  });
  const timeouts = { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 1 };
  const named = { ...upstream, name: 'openai' };
  const route: Route = { upstream: named, provider: openai, endpoints: undefined, timeouts };
  const resolver = { routes: new Map([['openai', route]]) };
  return { ledger, background: createBackground({ ledger, resolver, relay, settler, runtime }) };
}

async function open(ledger: Ledger, id = 'req_1'): Promise<void> {
  const what = { keyId: 'key_1', endpoint: 'responses', provider: 'openai', model: MODEL, stream: false };
  await ledger.admit({ id, customer: 'cus_1', openedAtMs: OPENED_AT_MS, ...what });
  const dueAtMs = OPENED_AT_MS + 1_000;
  await ledger.openBackground({
    call: id,
    responseId: 'resp_1',
    attempt: 1,
    inputTokens: 7,
    plan: null,
    dueAtMs,
  });
}

const response = (status: string, more: object = {}): { status: number; body: object } => ({
  status: 200,
  body: { id: 'resp_1', object: 'response', status, model: 'gpt-plain', output: [], usage: null, ...more },
});
const DONE = response('completed', { usage: STORED_USAGE, completed_at: OPENED_AT_MS / 1000 + 60 });

/** A pass at that time, and everything it began. */
async function passAt(background: Background, atMs: number): Promise<number | undefined> {
  now = atMs;
  const next = await background.poll();
  while (running.length > 0) await running.shift();
  return next;
}
const callOf = async (ledger: Ledger, id = 'req_1'): Promise<CallView | undefined> =>
  (await ledger.calls({ id, limit: 1 })).data[0];
const tokensOf = (call: CallView | undefined): number[] => call?.lines.map(({ tokens }) => tokens) ?? [];

describe('a response in the background', () => {
  it('is asked about when it is due, ever more rarely, a minute apart at most', async () => {
    const { ledger, background } = boot('a');
    await open(ledger);
    answer = response('in_progress');
    expect(await passAt(background, OPENED_AT_MS)).toBe(1_000);
    const at: number[] = [];
    for (let ms = 1_000; ms < 2 * HOUR_MS;) {
      const before = asked.length;
      await passAt(background, OPENED_AT_MS + ms);
      if (asked.length > before) at.push(Math.round(ms / 1_000));
      ms = ((await ledger.nextBackground()) ?? Infinity) - OPENED_AT_MS;
    }
    expect(at.slice(0, 6)).toEqual([1, 2, 3, 4, 5, 6]);
    const pauses = at.slice(1).map((second, index) => second - (at[index] ?? 0));
    expect(Math.max(...pauses)).toBe(60);
    expect(at.length).toBeLessThan(200);
    expect(asked[0]).toMatchObject({ method: 'GET', url: 'https://acme.example/v1/responses/resp_1' });
    expect((await callOf(ledger))?.state).toBe('open');
  });

  it('is billed at the time its provider says that it ended', async () => {
    const { ledger, background } = boot('a');
    await open(ledger);
    answer = DONE;
    await passAt(background, OPENED_AT_MS + 90_000);
    const call = await callOf(ledger);
    expect(call).toMatchObject({
      state: 'settled',
      usageSource: 'reported',
      endedAtMs: OPENED_AT_MS + 60_000,
    });
    expect(tokensOf(call)).toEqual([20, 9]);
    expect(await ledger.nextBackground()).toBeUndefined();
  });

  it.each([
    ['before it began', OPENED_AT_MS / 1000 - 5],
    ['in the future', OPENED_AT_MS / 1000 + 500],
    ['as text', 'yesterday'],
  ])('is billed now where its provider says that it ended %s', async (_when, completedAt) => {
    const { ledger, background } = boot('a');
    await open(ledger);
    answer = response('completed', { usage: STORED_USAGE, completed_at: completedAt });
    await passAt(background, OPENED_AT_MS + 90_000);
    expect((await callOf(ledger))?.endedAtMs).toBe(OPENED_AT_MS + 90_000);
  });

  it('is left open by a crash, and billed by the next start', async () => {
    const before = boot('a');
    await open(before.ledger);
    const after = boot('b');
    expect(await after.ledger.recover({ nowMs: now })).toEqual([]);
    answer = DONE;
    await passAt(after.background, OPENED_AT_MS + 90_000);
    expect(tokensOf(await callOf(after.ledger))).toEqual([20, 9]);
  });

  it('is billed once, however many see its end', async () => {
    const { ledger, background } = boot('a');
    const other = boot('b');
    await open(ledger);
    answer = DONE;
    const stored = await ledger.storedResponse('cus_1', 'resp_1');
    if (stored === undefined) throw new Error('It is not on record.');
    now = OPENED_AT_MS + 90_000;
    await Promise.all([
      background.look(stored),
      other.background.look(stored),
      background.poll(),
      other.background.poll(),
    ]);
    while (running.length > 0) await running.shift();
    expect(tokensOf(await callOf(ledger))).toEqual([20, 9]);
    expect((await ledger.totals()).settledCalls).toBe(1);
  });

  it('is forgotten where a crash came between its settlement and that', async () => {
    const { ledger, background } = boot('a');
    await open(ledger);
    await ledger.settle({ ...(await ledger.lostBackground('req_1', now)), usageSource: 'none' });
    await passAt(background, OPENED_AT_MS + 2_000);
    expect(asked).toEqual([]);
    expect(await ledger.nextBackground()).toBeUndefined();
  });

  it('is given up after twelve answers that there is none, with what was seen of it and an alarm', async () => {
    const { ledger, background } = boot('a');
    await open(ledger);
    const line = { attempt: 1, model: MODEL, tokenType: 'output', tokens: 3 };
    await ledger.checkpoint({ id: 'req_1', lines: [line], usageJson: '[]', costPico: '0' });
    answer = { status: 404, body: { error: { message: 'not found' } } };
    for (let look = 1; look <= 12; look += 1) {
      expect((await callOf(ledger))?.state).toBe('open');
      await passAt(background, OPENED_AT_MS + look * 120_000);
    }
    expect(await callOf(ledger)).toMatchObject({
      state: 'settled',
      outcome: 'recovered',
      usageSource: 'estimated',
      responseId: 'resp_1',
    });
    expect(tokensOf(await callOf(ledger))).toEqual([3]);
    expect(logged.filter((event) => event === 'background_lost')).toHaveLength(1);
    expect(await ledger.nextBackground()).toBeUndefined();
  });

  it.each([
    ['fails', { status: 500, body: {} }],
    ['refuses the key', { status: 401, body: {} }],
    ['is silent', undefined],
  ])('is waited for two days while its provider %s, and then given up', async (_how, given) => {
    const { ledger, background } = boot('a');
    await open(ledger);
    answer = given;
    for (let hour = 1; hour <= 48; hour += 1) await passAt(background, OPENED_AT_MS + hour * HOUR_MS);
    expect((await callOf(ledger))?.state).toBe('open');
    await passAt(background, OPENED_AT_MS + 49 * HOUR_MS);
    expect(await callOf(ledger)).toMatchObject({
      state: 'settled',
      usageSource: 'none',
      outcome: 'recovered',
    });
    expect(logged).toContain('background_lost');
  });

  it('is another for each customer, though a provider gave two the same id', async () => {
    const { ledger } = boot('a');
    await open(ledger);
    expect(await ledger.storedResponse('cus_2', 'resp_1')).toBeUndefined();
    expect((await ledger.storedResponse('cus_1', 'resp_1'))?.call).toBe('req_1');
  });
});

const heldOf = async (ledger: Ledger): Promise<string> => (await ledger.balance('cus_1', now)).heldPico;

describe('what is held for it', () => {
  const HOLD = 700n;
  /** A customer of 1,000, and a response in the background that holds 700 of it. */
  async function held(ledger: Ledger): Promise<void> {
    const times = { effectiveAtMs: 0, expiresAtMs: null, createdAtMs: 0, voidedAtMs: null };
    const amount = { amountPico: '1000', balancePico: '1000', applies: true };
    const kind = { id: 'credgr_1', name: null, category: 'paid', priority: 50 } as const;
    await ledger.recordGrants({ customer: 'cus_1', readAtMs: 1, grants: [{ ...kind, ...times, ...amount }] });
    expect(await admitted(ledger, 'req_1')).toBe('admitted');
    await ledger.openBackground({
      call: 'req_1',
      responseId: 'resp_1',
      attempt: 1,
      inputTokens: 7,
      plan: null,
      dueAtMs: OPENED_AT_MS + 1_000,
    });
  }
  async function admitted(ledger: Ledger, id: string): Promise<string> {
    const what = { keyId: 'key_1', endpoint: 'responses', provider: 'openai', model: MODEL, stream: false };
    const account = await ledger.account('cus_1');
    const guard = { nowMs: now, version: account?.version ?? 0, period: null, gracePico: '0' };
    const money = { holdPico: String(HOLD), fitPico: String(HOLD), creditChecked: true, observe: false };
    const call = { id, customer: 'cus_1', openedAtMs: now, ...what };
    return (await ledger.admit(call, { ...guard, ...money })).kind;
  }

  it('stays while it is made, and keeps others out, until its provider says that it is done', async () => {
    const { ledger, background } = boot('a');
    await held(ledger);
    answer = response('in_progress');
    for (let minute = 1; minute <= 30; minute += 1) {
      await passAt(background, OPENED_AT_MS + minute * 60_000);
      expect(await heldOf(ledger)).toBe('700');
    }
    expect(await admitted(ledger, 'req_2')).toBe('short');
    answer = DONE;
    await passAt(background, OPENED_AT_MS + HOUR_MS);
    expect(await heldOf(ledger)).toBe('0');
    expect(await admitted(ledger, 'req_3')).toBe('admitted');
  });

  it('outlives a crash, and goes with the bill that the next start makes', async () => {
    const before = boot('a');
    await held(before.ledger);
    const after = boot('b');
    await after.ledger.recover({ nowMs: now });
    expect(await heldOf(after.ledger)).toBe('700');
    expect(await admitted(after.ledger, 'req_2')).toBe('short');
    answer = DONE;
    await passAt(after.background, OPENED_AT_MS + 90_000);
    expect(await heldOf(after.ledger)).toBe('0');
  });

  it.each(['cancelled', 'failed', 'incomplete'])('goes when it is %s', async (status) => {
    const { ledger, background } = boot('a');
    await held(ledger);
    answer = response(status);
    await passAt(background, OPENED_AT_MS + 2_000);
    expect(await heldOf(ledger)).toBe('0');
    expect((await callOf(ledger))?.state).toBe('settled');
  });

  it('goes when it is given up', async () => {
    const { ledger, background } = boot('a');
    await held(ledger);
    answer = { status: 404, body: { error: { message: 'not found' } } };
    for (let look = 1; look <= 12; look += 1) {
      expect(await heldOf(ledger)).toBe('700');
      await passAt(background, OPENED_AT_MS + look * 120_000);
    }
    expect(await heldOf(ledger)).toBe('0');
  });
});
