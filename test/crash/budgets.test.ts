/** A gateway killed with twenty calls running, whose customer has credit, a budget and a budget on the key's own. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { Row } from '../../src/ledger/ledger.ts';
import { openSqlite } from '../../src/platform/sqlite.ts';
import { ADMIN_KEY, admin, databaseFile, SERVICE_KEY, startGatewayProcess } from './gateway-process.ts';
import { setScene } from './scene.ts';

const RUNNING = 20;
const USD = 1_000_000_000_000n;
/** Picodollars a token, as configured below. */
const [READ, GENERATED] = [1_000_000n, 2_000_000n];
const YAML = `
prices: { openai/own-model: { input: 1, output: 2 } }
budget: { mode: strict }
`;

it('leaves no hold behind, and every sum is that of the calls on record', { timeout: 60_000 }, async () => {
  const scene = await setScene(7);
  const customer = scene.customers[0] ?? '';
  scene.stripe.addCredit(customer, 500);
  writeFileSync(join(scene.place.directory, 'faregate.yaml'), YAML);
  const ask = (url: string, tokens: number) =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': customer },
      body: JSON.stringify({
        model: 'openai/own-model',
        max_tokens: tokens,
        stream: true,
        messages: [{ role: 'user', content: 'What of the fare?' }],
      }),
    });
  const balance = async (url: string) =>
    (await admin(url, `/customers/${customer}`)) as { balance: { held_usd: string; available_usd: string } };

  const killed = startGatewayProcess(scene.place);
  const first = (await killed.ready) ?? '';
  const budget = { scope: 'customer', subject: customer, span: 'month', limit_usd: '5' };
  const put = await fetch(`${first}/admin/v1/budgets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(budget),
  });
  expect(put.status).toBeLessThan(300);
  expect((await ask(first, 20)).status).toBe(200);
  const streams = await Promise.all(Array.from({ length: RUNNING }, () => ask(first, 2_000)));
  expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200));
  // Long enough for evidence to be written of each.
  await pause(600);
  console.log(JSON.stringify(await balance(first)));
  killed.kill('SIGKILL');
  await killed.ended;
  await Promise.allSettled(streams.map((reply) => reply.text()));

  const again = startGatewayProcess(scene.place);
  const url = (await again.ready) ?? '';
  console.log(JSON.stringify(await balance(url)));
  expect((await ask(url, 20)).status).toBe(200);
  again.kill('SIGTERM');
  await again.ended;

  const database = await openSqlite({ file: databaseFile(scene.place) });
  const [calls = [], sums] = await database.batch([
    {
      sql: 'SELECT outcome, hold_pico, ended_at_ms, CAST(cost_pico AS TEXT) AS cost, lines_json FROM calls',
      params: [],
    },
    { sql: SUMS, params: [] },
  ]);
  await database.close();
  console.log(JSON.stringify(calls[3]), JSON.stringify(sums));
  expect(await scene.violations()).toEqual([]);
  await scene.close();
});

const SUMS = `SELECT CAST(a.unbilled_pico AS TEXT) AS unbilled, CAST(a.overdrawn_pico AS TEXT) AS overdrawn,
  (SELECT CAST(SUM(burned_pico) AS TEXT) FROM credit_grants) AS burned,
  (SELECT CAST(SUM(spent_pico) AS TEXT) FROM budgets) AS spent FROM accounts a`;
