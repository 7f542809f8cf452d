/** Reconciliation from outside: over the admin routes and by the command, beside a running gateway. */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, CUSTOMER, startTestGateway, type TestGateway } from './support/gateway.ts';

const BIN = new URL('../bin/faregate.mjs', import.meta.url).pathname;
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

interface Run {
  readonly id: string;
  readonly state: string;
  readonly verdict: string | null;
  readonly cells: Readonly<Record<string, number>>;
  readonly events: Readonly<Record<string, number>>;
  readonly open_cells: readonly { readonly reasons: readonly { reason: string; value: string }[] }[];
}

const post = (body: unknown): RequestInit => ({ method: 'POST', body: JSON.stringify(body) });
async function compared(body: unknown = {}): Promise<Run> {
  const { id } = await gateway.admin<{ id: string }>('/reconciliations', post(body));
  for (;;) {
    const run = await gateway.admin<Run>(`/reconciliations/${id}`);
    if (run.state !== 'running') return run;
  }
}

function command(...args: string[]): Promise<{ code: number | null; out: string }> {
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env['PATH'] ?? '', DATABASE_URL: `sqlite:${gateway.file}` };
    const child = spawn(process.execPath, [BIN, 'reconcile', ...args], { env, timeout: 20_000 });
    const out: string[] = [];
    child.stdout.on('data', (data) => out.push(String(data)));
    child.stderr.on('data', (data) => out.push(String(data)));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out: out.join('') }));
  });
}

const ask = (body: unknown, key = ADMIN_KEY): Promise<number> =>
  fetch(`${gateway.url}/admin/v1/reconciliations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  }).then(({ status }) => status);

describe('POST /admin/v1/reconciliations', () => {
  it('confirms what calls used once Stripe shows it, and says so by command too', async () => {
    const key = await gateway.boundKey();
    const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'demo/plain', messages: [{ role: 'user', content: 'hello' }] }),
    });
    expect(reply.status).toBe(200);
    await reply.text();
    await gateway.flushed();
    const run = await compared();
    expect(run).toMatchObject({ state: 'finished', verdict: 'equal', events: { confirmed: 2 } });
    const totals = await gateway.admin<{ events: { state: string }[] }>('/totals');
    expect(totals.events.map(({ state }) => state)).toEqual(['confirmed']);
    const ran = await command();
    expect(ran.code, ran.out).toBe(0);
    expect(ran.out).toContain('equal: 1 hours equal');
  });

  it("tells somebody else's usage, and the command exits 1", async () => {
    const planted = await fetch(`${gateway.stripe.url}/v2/billing/meter_events`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk_test_tests', 'content-type': 'application/json' },
      body: JSON.stringify({
        event_name: 'token-billing-tokens',
        payload: { stripe_customer_id: CUSTOMER, value: '7', model: 'theirs/one', token_type: 'input' },
      }),
    });
    expect(planted.status).toBe(200);
    const run = await compared({ customer: CUSTOMER });
    expect(run.verdict).toBe('different');
    expect(run.open_cells[0]?.reasons).toEqual([{ reason: 'foreign', value: '7' }]);
    const ran = await command('--json');
    expect(ran.code).toBe(1);
    expect(JSON.parse(ran.out)).toMatchObject({ verdict: 'different' });
    const history = await command('--history');
    expect(history.out.split('\n').filter((line) => line.includes('rcn_'))).toHaveLength(4);
  });

  it('refuses a time that makes no sense, and whoever has no admin key', async () => {
    expect(await ask({ from: 'yesterday' })).toBe(400);
    expect(await ask({ from: '2026-11-31' })).toBe(400);
    expect(await ask({ from: '2026-01-02', to: '2026-01-01' })).toBe(400);
    expect(await ask({ customer: 'bob' })).toBe(400);
    expect(await ask({}, 'nobody')).toBe(401);
    const ran = await command('--from', 'yesterday');
    expect(ran.code).toBe(2);
  });
});
