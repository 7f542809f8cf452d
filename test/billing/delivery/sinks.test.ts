/** The places that are not Stripe, over HTTP. */
import { onTestFinished, describe, expect, it } from 'vitest';
import { onlyWay } from '../../../src/billing/delivery/channel.ts';
import { createDelivery } from '../../../src/billing/delivery/delivery.ts';
import { createSinks, type SinkSettings } from '../../../src/billing/delivery/sinks/create-sinks.ts';
import { createLedger } from '../../../src/ledger/create-ledger.ts';
import type { Delivery, MeterEvent } from '../../../src/ledger/ledger.ts';
import { migrate } from '../../../src/ledger/migrations.ts';
import { httpPost } from '../../../src/platform/http-post.ts';
import { callToOpen, ending, fresh } from '../../contract/ledger-calls.ts';
import { openMemory } from '../../support/memory-database.ts';
import { createTestRuntime, lineOf, listen, MemoryLedger, testCrypto } from '../support.ts';

interface Seen {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

async function setUp(settings: Omit<SinkSettings, 'url'>) {
  const runtime = createTestRuntime();
  const seen: Seen[] = [];
  const place = { status: 200, refuses: '' };
  const server = await listen((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      seen.push({ headers: request.headers, body });
      const refused = place.refuses !== '' && body.includes(place.refuses);
      response.writeHead(refused ? 422 : place.status).end('said');
    });
  });
  onTestFinished(() => server.close());
  const ledger = new MemoryLedger();
  const sinks = new Map([['crm', { ...settings, url: `${server.url}/usage` }]]);
  const ways = createSinks({ sinks, post: httpPost, runtime, crypto: testCrypto }).get('crm');
  if (ways === undefined) throw new Error('No sink was made.');
  const delivery = createDelivery({ ledger, runtime, crypto: testCrypto, eventName: 'meter', sink: ways });
  const add = (count: number): void => {
    for (let n = 0; n < count; n += 1)
      ledger.lines.push(lineOf(`call-${String(ledger.events.size + n)}`, { tokens: n + 1 }));
  };
  return { runtime, seen, place, ledger, delivery, add };
}

const SECRET = 'the webhook secret of tests';

describe('a signed webhook', () => {
  it('gets the usage, signed over the bytes that were sent', async () => {
    const { seen, delivery, add, ledger, runtime } = await setUp({ type: 'webhook', secret: SECRET });
    add(1);
    await delivery.flush();
    const [request] = seen;
    const time = String(Math.floor(runtime.nowMs / 1000));
    expect(request?.headers['x-faregate-signature']).toBe(
      `t=${time},v1=${testCrypto.hmac(SECRET, `${time}.${request?.body ?? ''}`)}`,
    );
    expect(JSON.parse(request?.body ?? '')).toMatchObject({
      type: 'usage',
      data: [
        {
          id: expect.stringMatching(/^fg_/) as unknown,
          customer: 'cus_a',
          model: 'openai/gpt-4o-mini',
          token_type: 'input',
          value: '1',
          timestamp: '2026-11-21T11:00:00.000Z',
        },
      ],
    });
    expect(ledger.states()).toEqual({ accepted: 1 });
  });

  it('gets 100 events a request, and the same ids again after an answer that was lost', async () => {
    const { seen, place, delivery, add, ledger, runtime } = await setUp({ type: 'webhook', secret: SECRET });
    add(90);
    place.status = 502;
    await delivery.flush();
    expect(ledger.states()).toEqual({ ambiguous: 90 });
    place.status = 200;
    runtime.nowMs += 31_000;
    await delivery.flush();
    runtime.nowMs += 31_000;
    await delivery.flush();
    expect(ledger.states()).toEqual({ accepted: 90 });
    const ids = seen.flatMap(({ body }) =>
      (JSON.parse(body) as { data: { id: string }[] }).data.map(({ id }) => id),
    );
    expect(new Set(ids).size).toBe(90);
  });

  it('that refuses one event of many gets the others', async () => {
    const { place, delivery, add, ledger } = await setUp({ type: 'webhook', secret: SECRET });
    add(20);
    place.refuses = '"value":"7"';
    await delivery.flush();
    expect(ledger.states()).toEqual({ accepted: 19, refused: 1 });
  });
});

describe('other formats', () => {
  it('are CloudEvents in a batch', async () => {
    const { seen, delivery, add } = await setUp({ type: 'cloudevents', secret: 'token' });
    add(2);
    await delivery.flush();
    expect(seen[0]?.headers).toMatchObject({
      'content-type': 'application/cloudevents-batch+json',
      authorization: 'Bearer token',
    });
    expect(JSON.parse(seen[0]?.body ?? '')).toMatchObject([
      { specversion: '1.0', subject: 'cus_a', type: 'faregate.usage.meter', source: 'faregate' },
      { specversion: '1.0' },
    ]);
  });

  it("are Metronome's ingest", async () => {
    const { seen, delivery, add } = await setUp({ type: 'metronome', secret: 'token' });
    add(1);
    await delivery.flush();
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual([
      {
        transaction_id: expect.stringMatching(/^fg_/) as unknown,
        customer_id: 'cus_a',
        event_type: 'meter',
        timestamp: '2026-11-21T11:00:00.000Z',
        properties: { model: 'openai/gpt-4o-mini', token_type: 'input', value: '1' },
      },
    ]);
  });
});

it('a place that nobody answers at leaves its events surely unsent', async () => {
  const runtime = createTestRuntime();
  const server = await listen(() => undefined);
  await server.close();
  const sinks = new Map([['crm', { type: 'cloudevents' as const, url: server.url, secret: null }]]);
  const ways = createSinks({ sinks, post: httpPost, runtime, crypto: testCrypto }).get('crm');
  const ledger = new MemoryLedger();
  ledger.lines.push(lineOf('call-1'));
  if (ways === undefined) throw new Error('No sink was made.');
  await createDelivery({ ledger, runtime, crypto: testCrypto, eventName: 'meter', sink: ways }).flush();
  expect([...ledger.events.values()][0]).toMatchObject({ state: 'pending', firstAttemptAtMs: null });
});

const taken = async (events: readonly MeterEvent[]): Promise<readonly Delivery[]> =>
  events.map(({ identifier }) => ({ identifier, kind: 'accepted' }));

it('a pass that fails at one place is over when what is on its way to another is answered and marked', async () => {
  const database = openMemory();
  onTestFinished(() => database.close());
  await migrate(database);
  const ledger = createLedger({ database, bootId: 'boot' });
  const runtime = createTestRuntime();
  const id = fresh('call');
  await ledger.admit(callToOpen({ id, openedAtMs: runtime.nowMs }));
  const lines = [{ attempt: 1, model: 'demo/echo', tokenType: 'input', tokens: 7 }];
  await ledger.settle(ending(id, { lines, endedAtMs: runtime.nowMs }));
  const failing = Promise.withResolvers<undefined>();
  const crm = onlyWay({
    send: async (events) => {
      await failing.promise;
      // A turn of the loop later than whatever follows from the failure.
      await new Promise((resolve) => void setImmediate(resolve));
      return taken(events);
    },
  });
  const delivery = createDelivery({
    ledger,
    runtime,
    crypto: testCrypto,
    eventName: 'meter',
    sink: { send: taken },
    sinks: new Map([['crm', crm]]),
    sent: () => {
      failing.resolve(undefined);
      return Promise.reject(new Error('The mark cannot be written.'));
    },
  });
  await expect(delivery.flush()).rejects.toThrow('The mark cannot be written.');
  expect((await ledger.events({ limit: 9 })).data.map(({ state }) => state)).toEqual([
    'accepted',
    'accepted',
  ]);
});
