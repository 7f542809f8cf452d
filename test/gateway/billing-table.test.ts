/** The table of docs/billing.md, cell by cell: how a call ends, what the provider told of it, and what is charged. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callById, callThrough } from '../support/call.ts';
import { delta, DONE, event, usageChunk } from '../support/chat.ts';
import {
  type AdminCall,
  CUSTOMER,
  SERVICE_KEY,
  startTestGateway,
  type TestGateway,
} from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

const TEXT = delta({ content: 'The fare is paid at the gate.' });
const STOP = event({ id: 'c1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const body = (usage: object): string =>
  JSON.stringify({
    id: 'c1',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Paid.' }, finish_reason: 'stop' }],
    ...usage,
  });
const REPORTED = body({ usage: { prompt_tokens: 9, completion_tokens: 2 } });

/** Replies that wait here go on once the caller has left. */
let released: PromiseWithResolvers<void> = Promise.withResolvers();

const json =
  (text: string): Script =>
  ({ response }) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(text);
const stream =
  (...steps: readonly (string | 'wait' | 'die')[]): Script =>
  async ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const step of steps) {
      if (step === 'wait') await released.promise;
      else if (step === 'die') return void response.destroy();
      else await new Promise((resolve) => response.write(step, resolve));
    }
    response.end();
  };
const later =
  (script: Script): Script =>
  async (exchange) => {
    await released.promise;
    await script(exchange);
  };

const SCRIPTS: Readonly<Record<string, Script>> = {
  'plain-reported': json(REPORTED),
  'plain-silent': json(body({})),
  'stream-reported': stream(TEXT, STOP, usageChunk(9, 2), DONE),
  'stream-silent': stream(TEXT, STOP, DONE),
  'stream-empty': stream(DONE),
  'waits-plain': later(json(REPORTED)),
  'waits-plain-silent': later(json(body({}))),
  'waits-error': later(({ response }) => void response.writeHead(500).end('{"error":{"message":"Oh"}}')),
  'waits-stream': stream(TEXT, 'wait', STOP, usageChunk(9, 2), DONE),
  'waits-stream-silent': stream(TEXT, 'wait', STOP, DONE),
  'waits-counted': stream(TEXT, STOP, usageChunk(9, 2), 'wait', DONE),
  'breaks-counted': stream(TEXT, STOP, usageChunk(9, 2), 'die'),
  'breaks-speaking': stream(TEXT, 'die'),
  'breaks-unanswered': ({ response }) => void response.destroy(),
  'breaks-with-500': ({ response }) => void response.writeHead(500).end('{"error":{"message":"Oh"}}'),
};

const DISCONNECT = ['drain', 'cancel'] as const;
const MISSING = ['estimate', 'refuse', 'zero'] as const;
type Policy = `${(typeof DISCONNECT)[number]} ${(typeof MISSING)[number]}`;
const POLICIES = DISCONNECT.flatMap((left) => MISSING.map((missing): Policy => `${left} ${missing}`));

/** What is charged: the provider's count, ours of what was read or of what was generated too, or nothing. */
type Charge = 'reported' | 'input' | 'estimate' | 'nothing';
interface Cell {
  readonly end: 'finished' | 'caller_left' | 'upstream_broke' | 'gateway_refused';
  readonly charge: Charge;
  /** What the caller sees; of one who left nothing is asked. */
  readonly sees?: 'whole' | 'broken' | 502 | 500;
}

const finished = (charge: Charge): Cell => ({ end: 'finished', charge, sees: 'whole' });
const left = (charge: Charge): Cell => ({ end: 'caller_left', charge });
const broke = (charge: Charge, sees: Cell['sees'] & {}): Cell => ({ end: 'upstream_broke', charge, sees });
const refused = (charge: Charge, sees: Cell['sees'] & {}): Cell => ({ end: 'gateway_refused', charge, sees });

/** By script; a function where the policy decides. */
const CELLS: Readonly<Record<string, (left: string, missing: string) => Cell>> = {
  'plain-reported': () => finished('reported'),
  'stream-reported': () => finished('reported'),
  'plain-silent': (_left, missing) =>
    missing === 'refuse' ? refused('nothing', 502) : finished(missing === 'zero' ? 'nothing' : 'estimate'),
  'stream-silent': (_left, missing) =>
    missing === 'refuse'
      ? refused('estimate', 'broken')
      : finished(missing === 'zero' ? 'nothing' : 'estimate'),
  // None of it waited for the end, so it can still be refused by its status.
  'stream-empty': (_left, missing) =>
    missing === 'refuse' ? refused('input', 502) : finished(missing === 'zero' ? 'nothing' : 'input'),
  'waits-plain': (policy, missing) =>
    left(policy === 'drain' ? 'reported' : missing === 'zero' ? 'nothing' : 'input'),
  'waits-plain-silent': (policy, missing) =>
    left(missing === 'zero' ? 'nothing' : policy === 'drain' ? 'estimate' : 'input'),
  'waits-error': (policy, missing) =>
    policy === 'drain' ? broke('nothing', 500) : left(missing === 'zero' ? 'nothing' : 'input'),
  'waits-stream': (policy, missing) =>
    left(policy === 'drain' ? 'reported' : missing === 'zero' ? 'nothing' : 'estimate'),
  'waits-stream-silent': (_left, missing) => left(missing === 'zero' ? 'nothing' : 'estimate'),
  'waits-counted': () => left('reported'),
  'breaks-counted': () => broke('reported', 'broken'),
  'breaks-speaking': (_left, missing) => broke(missing === 'zero' ? 'nothing' : 'estimate', 'broken'),
  'breaks-unanswered': () => broke('nothing', 502),
  'breaks-with-500': () => broke('nothing', 500),
};

let upstream: ScriptedUpstream;
const gateways = new Map<Policy, TestGateway>();
beforeAll(async () => {
  upstream = await startScripted(SCRIPTS);
  for (const policy of POLICIES) {
    const [onDisconnect, onMissing] = policy.split(' ');
    const config = { metering: { on_disconnect: onDisconnect, on_missing_usage: onMissing } };
    const providers = { odd: { type: 'openai-compatible', base_url: `${upstream.url}/v1` } };
    gateways.set(policy, await startTestGateway({ config, providers }));
  }
}, 60_000);
afterAll(async () => {
  released.resolve();
  for (const gateway of gateways.values()) await gateway.close();
  await upstream.close();
});

describe.each(POLICIES)('what is charged under %s', (policy) => {
  const [onDisconnect = '', onMissing = ''] = policy.split(' ');
  // The 200 ms of a cancelled upstream are short for a busy machine.
  it.each(Object.keys(CELLS))('of a call whose provider %s', { retry: 2 }, async (script) => {
    const gateway = gateways.get(policy)!;
    const cell = CELLS[script]!(onDisconnect, onMissing);
    const streams = /stream|counted|speaking/.test(script);
    const call = script.startsWith('waits')
      ? await leave(gateway, { script, streams, waits: onDisconnect === 'drain' })
      : await stay(gateway, { script, streams, sees: cell.sees });
    const found = { outcome: call.outcome, source: call.usage_source, charge: chargeOf(call) };
    const source = { reported: 'reported', nothing: 'none', input: 'estimated', estimate: 'estimated' };
    expect(found).toEqual({ outcome: cell.end, source: source[cell.charge], charge: cell.charge });
  });
});

function chargeOf({ usage_source: source, events }: AdminCall): Charge {
  const types = events.map(({ token_type: type, value }) => `${type}${source === 'reported' ? value : ''}`);
  const charges: Readonly<Record<string, Charge>> = {
    '': 'nothing',
    input: 'input',
    'input output': 'estimate',
    'input9 output2': 'reported',
  };
  return charges[types.toSorted().join(' ')] ?? 'nothing';
}

async function stay(
  gateway: TestGateway,
  { script, streams, sees }: { script: string; streams: boolean; sees: Cell['sees'] },
): Promise<AdminCall> {
  const got = await callThrough(gateway, { model: `odd/${script}`, stream: streams });
  const whole = got.broken ? 'broken' : 'whole';
  expect(got.status === 200 ? whole : got.status).toBe(sees);
  if (sees === 'broken') expect(got.text).not.toContain('[DONE]');
  return got.call;
}

/** Leaves as soon as the first bytes are there, or for a reply that is held whole as soon as the provider was asked. */
async function leave(
  gateway: TestGateway,
  { script, streams, waits }: { script: string; streams: boolean; waits: boolean },
): Promise<AdminCall> {
  released = Promise.withResolvers();
  const asked = upstream.seen.length;
  const leaving = new AbortController();
  const reply = fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': CUSTOMER },
    body: JSON.stringify({
      model: `odd/${script}`,
      stream: streams,
      messages: [{ role: 'user', content: 'What of the fare?' }],
    }),
    signal: leaving.signal,
  });
  reply.catch(() => undefined);
  if (streams) await (await reply).body?.getReader().read();
  await expect.poll(() => upstream.seen.length).toBe(asked + 1);
  const { data } = await gateway.admin<{ data: AdminCall[] }>('/calls?state=open');
  const id = data[0]?.id ?? '';
  const leftAt = performance.now();
  leaving.abort();
  if (waits) {
    // A reply that is held whole is looked after by probes, the second of them 50 ms later.
    await expect
      .poll(() => gateway.log.some((line) => line['event'] === 'caller_left' && line['request_id'] === id))
      .toBe(true);
    released.resolve();
  } else {
    await upstream.closed();
    expect(performance.now() - leftAt).toBeLessThan(200);
  }
  await gateway.flushed();
  return callById(gateway, id);
}
