import { describe, expect, it, vi } from 'vitest';
import { unstable_startWorker as startWorker } from 'wrangler';
import { describeHttpCases } from '../contract/http-cases.ts';
import { ADMIN_KEY, startWorld, type Start } from '../contract/http-world.ts';
import { socketFetch } from '../support/socket-fetch.ts';

/** What `wrangler dev` runs. Wrangler's own test harness will not do: it sends the Worker's fetches through Node. */
const start: Start = async (env, yaml) => {
  const variables = Object.entries({ ...env, FAREGATE_YAML: yaml });
  const worker = await startWorker({
    config: 'wrangler.toml',
    bindings: Object.fromEntries(variables.map(([name, value]) => [name, { type: 'plain_text', value }])),
    dev: {
      server: { hostname: '127.0.0.1', port: 0 },
      inspector: false,
      persist: false,
      watch: false,
      logLevel: 'none',
    },
  });
  const url = await worker.url;
  return {
    fetch: (path, init) => socketFetch(new URL(path, url), init),
    close: () => worker.dispose(),
  };
};

describeHttpCases('workerd', start);

describe('a Durable Object', () => {
  it(
    'compares its ledger with Stripe once a night: usage of a night gone by at once',
    { timeout: 90_000 },
    async () => {
      const world = await startWorld(start);
      try {
        const customer = world.newCustomer();
        const timestamp = Math.floor(Date.now() / 1_000) - 30 * 3_600;
        const recorded = await world.place.fetch('/v1/usage/record', {
          headers: { authorization: `Bearer ${ADMIN_KEY}` },
          method: 'POST',
          body: JSON.stringify({
            customer,
            event_name: 'token-billing-tokens',
            value: 7,
            identifier: 'one',
            timestamp,
          }),
        });
        expect(recorded).toMatchObject({ status: 201 });
        const run = await vi.waitUntil(
          async () => {
            const { json } = await world.admin(`/reconciliations?customer=${customer}`);
            return (json as { data: { cause: string; state: string; verdict: string }[] }).data.find(
              ({ state }) => state === 'finished',
            );
          },
          { timeout: 60_000, interval: 250 },
        );
        expect(run).toMatchObject({ cause: 'nightly', state: 'finished' });
      } finally {
        await world.close();
      }
    },
  );
});
