/** A gateway killed with twenty calls running, whose customer has credit and a budget. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { linesFromJson } from '../../src/ledger/lines.ts';
import { openSqlite } from '../../src/platform/sqlite.ts';
import { ADMIN_KEY, databaseFile, SERVICE_KEY, startGatewayProcess } from './gateway-process.ts';
import { type Scene, setScene } from './scene.ts';

const RUNNING = 20;
/** Picodollars a token, as configured below. */
const RATES: Readonly<Record<string, bigint>> = { input: 1_000_000n, output: 2_000_000n };
const YAML = `
prices: { openai/own-model: { input: 1, output: 2 } }
budget: { mode: strict }
`;

it('leaves no hold behind, and every sum is that of the calls on record', { timeout: 60_000 }, async () => {
  const scene = await setScene(7);
  const customer = scene.customers[0] ?? '';
  scene.stripe.addCredit(customer, 500);
  writeFileSync(join(scene.place.directory, 'faregate.yaml'), YAML);
  const post = (url: string, key: string, body: object): Promise<Response> =>
    fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        'x-stripe-customer-id': customer,
      },
      body: JSON.stringify(body),
    });
  const ask = (url: string, tokens: number): Promise<Response> =>
    post(`${url}/v1/chat/completions`, SERVICE_KEY, {
      model: 'openai/own-model',
      max_tokens: tokens,
      stream: true,
      messages: [{ role: 'user', content: 'What of the fare?' }],
    });

  const killed = startGatewayProcess(scene.place);
  const first = (await killed.ready) ?? '';
  const budget = { customer, span: 'month', limit_usd: 5 };
  expect((await post(`${first}/admin/v1/budgets`, ADMIN_KEY, budget)).status).toBe(201);
  await (await ask(first, 20)).text();
  const streams = await Promise.all(Array.from({ length: RUNNING }, () => ask(first, 2_000)));
  expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200));
  // Evidence is written every 250 ms.
  await pause(600);
  killed.kill('SIGKILL');
  await killed.ended;
  await Promise.allSettled(streams.map((reply) => reply.text()));
  const found = await readLedger(scene);
  expect(found.open).toBe(RUNNING);
  expect(found.held > 0n).toBe(true);

  const again = startGatewayProcess(scene.place);
  await again.ready;
  again.kill('SIGTERM');
  await again.ended;
  const { cost, ...left } = await readLedger(scene);
  expect(cost > found.cost).toBe(true);
  expect(left).toEqual({ open: 0, held: 0n, unbilled: cost, overdrawn: 0n, burned: cost, spent: cost });
  expect(await scene.violations()).toEqual([]);
  await scene.close();
});

const LINES = `SELECT lines_json FROM calls WHERE ended_at_ms IS NOT NULL`;
const SUMS = `SELECT COUNT(*) AS open, CAST(COALESCE(SUM(hold_pico), 0) AS TEXT) AS held,
  (SELECT CAST(SUM(unbilled_pico) AS TEXT) FROM accounts) AS unbilled,
  (SELECT CAST(SUM(overdrawn_pico) AS TEXT) FROM accounts) AS overdrawn,
  (SELECT CAST(SUM(burned_pico) AS TEXT) FROM credit_grants) AS burned,
  (SELECT CAST(SUM(spent_pico) AS TEXT) FROM budgets) AS spent
  FROM calls WHERE ended_at_ms IS NULL`;

/** The counters in the file, and the cost of the settled calls by their tokens alone. */
async function readLedger({ place }: Scene) {
  const database = await openSqlite({ file: databaseFile(place) });
  const [calls = [], [sums = {}] = []] = await database.batch([
    { sql: LINES, params: [] },
    { sql: SUMS, params: [] },
  ]);
  await database.close();
  const lines = calls.flatMap((call) => linesFromJson(String(call['lines_json'])));
  const cost = lines.reduce((sum, line) => sum + BigInt(line.tokens) * (RATES[line.tokenType] ?? 0n), 0n);
  const sum = (name: string): bigint => BigInt(String(sums[name]));
  return {
    cost,
    open: Number(sums['open']),
    held: sum('held'),
    unbilled: sum('unbilled'),
    overdrawn: sum('overdrawn'),
    burned: sum('burned'),
    spent: sum('spent'),
  };
}
