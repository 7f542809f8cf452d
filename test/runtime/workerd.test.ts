import { describe, expect, it, vi } from 'vitest';
import { describeHttpCases } from '../contract/http-cases.ts';
import { ADMIN_KEY, startWorld } from '../contract/http-world.ts';
import { startWorkerd } from '../support/start-workerd.ts';

describeHttpCases('workerd', startWorkerd);

describe('a Durable Object', () => {
  it(
    'compares its ledger with Stripe once a night: usage of a night gone by at once',
    { timeout: 90_000 },
    async () => {
      const world = await startWorld(startWorkerd);
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
