/** Parts of one pass do not stop each other. */
import { expect, it } from 'vitest';
import { createReadingPass } from '../../src/platform/apart.ts';

it('looks for lost webhooks and sends notices although the readings fail, and comes back in a second', async () => {
  const ran: string[] = [];
  const failures: unknown[] = [];
  const pass = createReadingPass(
    {
      read: () => Promise.reject(new Error('no ledger')),
      poll: () => Promise.resolve(Number(ran.push('poll')) && 20_000),
      notify: () => Promise.resolve(Number(ran.push('notify')) && Infinity),
    },
    { firstPollMs: 0, failed: (error) => failures.push(error) },
  );
  expect(await pass()).toBe(1_000);
  expect(ran).toEqual(['poll', 'notify']);
  expect(failures).toHaveLength(1);
});
