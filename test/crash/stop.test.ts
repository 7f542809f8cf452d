import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { CUSTOMER, SERVICE_KEY as TEST_SERVICE_KEY, startTestGateway } from '../support/gateway.ts';
import { startLoad } from './callers.ts';
import { compare } from './compare.ts';
import { startGatewayProcess } from './gateway-process.ts';
import { setScene } from './scene.ts';

it.each(['SIGTERM', 'SIGINT'] as const)(
  'ends every running call whole, bills it and exits with 0 when %s comes under load',
  async (signal) => {
    const scene = await setScene(11);
    const load = startLoad({ seed: 12, lanes: 16, customers: scene.customers, patient: true });
    const gateway = startGatewayProcess(scene.place);
    load.aim(await gateway.ready);
    while (scene.upstream.served.filter(({ finished }) => finished).length < 30) await pause(5);
    gateway.kill(signal);
    load.aim(undefined);
    await load.stop();
    const running = load.callers.filter(({ complete }) => !complete);
    expect(await gateway.ended).toEqual({ code: 0, signal: null });

    // Whoever reached the upstream has his whole reply; nobody was refused.
    const asked = new Set(scene.upstream.served.map(({ tag }) => tag));
    expect(running.filter(({ tag }) => asked.has(tag))).toEqual([]);
    expect(gateway.alarms).toEqual([]);
    expect(await scene.violations()).toEqual([]);
    const reader = startGatewayProcess(scene.place);
    const books = await scene.books((await reader.ready) ?? '', load.callers);
    reader.kill('SIGTERM');
    await reader.ended;
    expect(compare(books)).toEqual([]);
    expect(books.ledger.length).toBeGreaterThan(30);
    expect(books.ledger.filter(({ outcome }) => outcome !== 'finished')).toEqual([]);
    await scene.close();
  },
);

it('refuses new connections while running calls end', async () => {
  const scene = await setScene(21);
  const gateway = startGatewayProcess(scene.place);
  const url = (await gateway.ready) ?? '';
  const load = startLoad({ seed: 22, lanes: 4, customers: scene.customers, patient: true });
  load.aim(url);
  const life = { isOver: false };
  void gateway.ended.then(() => {
    life.isOver = true;
  });
  while (scene.upstream.served.filter(({ outputTokens }) => outputTokens > 0).length < 8) await pause(2);
  gateway.kill('SIGTERM');
  load.aim(undefined);
  let refused = false;
  while (!refused && !life.isOver) {
    refused = await fetch(`${url}/healthz`, { headers: { connection: 'close' } }).then(
      () => false,
      (error: Error) => (error.cause as { code?: string } | undefined)?.code === 'ECONNREFUSED',
    );
  }
  expect({ refused, ...life }).toEqual({ refused: true, isOver: false });
  await load.stop();
  expect((await gateway.ended).code).toBe(0);
  await scene.close();
});

it('breaks off a call that outlasts the time to stop, and bills what came of it', async () => {
  const gateway = await startTestGateway({ start: { drainMs: 50 } });
  const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TEST_SERVICE_KEY}`, 'x-stripe-customer-id': CUSTOMER },
    body: JSON.stringify({ model: 'demo/stalls', stream: true, messages: [{ role: 'user', content: 'hi' }] }),
  });
  const broken = expect(reply.text()).rejects.toThrow('terminated');
  while ((gateway.upstream.served[0]?.outputTokens ?? 0) < 4) await pause(5);
  await gateway.running.close();
  await broken;
  const last = gateway.log.findLast(({ event }) => event === 'call');
  expect(last).toMatchObject({ outcome: 'upstream_broke', usage_source: 'estimated' });
  expect(gateway.billed()['demo/stalls output']).toBe(last?.['output_tokens']);
  await gateway.close();
});

it('does not wait for a Stripe that is silent: what it was not told, the next start tells it', async () => {
  const gateway = await startTestGateway({ start: { lastDeliveryMs: 500 } });
  const silent = { kind: 'slow', route: 'POST /v2/billing/*', delayMs: 600_000, times: 100 };
  gateway.stripe.faults.add(silent);
  const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TEST_SERVICE_KEY}`, 'x-stripe-customer-id': CUSTOMER },
    body: JSON.stringify({ model: 'demo/plain', messages: [{ role: 'user', content: 'hi' }] }),
  });
  expect(reply.status).toBe(200);
  await gateway.running.close();
  const database = new DatabaseSync(gateway.file, { readOnly: true });
  const states = database.prepare('SELECT DISTINCT state FROM meter_events').all();
  database.close();
  expect(states).toEqual([{ state: 'sending' }]);
  await gateway.close();
  expect(gateway.log.filter(({ event }) => event === 'flush_failed')).toEqual([]);
});
