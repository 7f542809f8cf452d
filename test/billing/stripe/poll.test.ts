/** The look for webhooks that never came, when one of the events cannot be applied. */
import { afterEach, expect, it } from 'vitest';
import { StripeUnreachable } from '../../../src/billing/ports.ts';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { UnreadableEvent } from '../../../src/billing/stripe/event.ts';
import { createEventPoll } from '../../../src/billing/stripe/poll.ts';
import { LedgerUnavailable } from '../../../src/ledger/ledger.ts';
import { createTestRuntime, listen, type TestServer } from '../support.ts';

let server: TestServer | undefined;
afterEach(() => server?.close());

/** Three events, of which the one in the middle fails so; or others. */
async function pollFailing(error: Error, ids = ['evt_3', 'evt_2', 'evt_1']) {
  const data = ids.map((id) => ({ id, type: 'invoice.paid' }));
  server = await listen((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ object: 'list', data, has_more: false }));
  });
  const runtime = createTestRuntime();
  const [applied, cursors]: [string[], number[]] = [[], []];
  /** Stripe is asked for what is beside the event, and says nothing. */
  const silence = (id: string): Promise<void> => {
    applied.push(id);
    runtime.nowMs += 8_000;
    return Promise.reject(error);
  };
  const poll = createEventPoll({
    stripe: createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url }),
    runtime,
    ledger: {
      eventCursor: () => Promise.resolve(undefined),
      setEventCursor: (atS) => Promise.resolve(void cursors.push(atS)),
      appliedEvents: () => Promise.resolve(new Set<string>()),
    },
    apply(text) {
      const { id } = JSON.parse(text) as { id: string };
      if (id.startsWith('evt_silent')) return silence(id);
      return id === 'evt_2' ? Promise.reject(error) : Promise.resolve(void applied.push(id));
    },
  });
  return { poll, runtime, applied, cursors };
}

it('an event that makes no sense is told of, and keeps no newer one out', async () => {
  const { poll, runtime, applied, cursors } = await pollFailing(new UnreadableEvent('alert is absent'));
  expect(await poll()).toBe(20_000);
  expect(applied).toEqual(['evt_1', 'evt_3']);
  expect(cursors).toEqual([runtime.nowMs / 1_000]);
  expect(runtime.lines).toMatchObject([
    { level: 'error', event: 'event_unreadable', fields: { id: 'evt_2', error: 'alert is absent' } },
    { level: 'warn', event: 'webhooks_made_up_for', fields: { events: 2 } },
  ]);
});

it('an event that cannot be applied now is looked for again, and keeps no newer one waiting', async () => {
  const { poll, applied, cursors } = await pollFailing(new StripeUnreachable('his balance: 500'));
  expect(await poll()).toBe(10_000);
  expect(applied).toEqual(['evt_1', 'evt_3']);
  expect(cursors).toEqual([]);
});

it('a ledger that is down is not asked to apply the rest', async () => {
  const { poll, applied, cursors } = await pollFailing(new LedgerUnavailable('no ledger'));
  expect(await poll()).toBe(10_000);
  expect(applied).toEqual(['evt_1']);
  expect(cursors).toEqual([]);
});

it('a Stripe that is silent does not hold up what else is read, for 8 s an event', async () => {
  const ids = Array.from({ length: 100 }, (_, at) => `evt_silent_${at}`);
  const { poll, applied, runtime, cursors } = await pollFailing(new StripeUnreachable('no answer'), ids);
  const beganMs = runtime.nowMs;
  expect(await poll()).toBe(10_000);
  expect(applied).toHaveLength(4);
  expect(runtime.nowMs - beganMs).toBe(32_000);
  expect(cursors).toEqual([]);
});
