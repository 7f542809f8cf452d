import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Stripe } from 'stripe';
import { expect, expectTypeOf, it } from 'vitest';
import { v2Params } from '../../src/billing/delivery/v2-sink.ts';
import { REQUESTS } from './requests.ts';

const SOURCE = new URL('../../src/', import.meta.url).pathname;

/** Calls of the official client, `stripe.billing.meters.list(...)`, over line breaks too. The simulator answers, it does not ask. */
function callsInSource(): string[] {
  const calls = new Set<string>();
  for (const file of readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.startsWith('simulator/')) continue;
    const text = readFileSync(join(SOURCE, file), 'utf8');
    for (const [, path = ''] of text.matchAll(/\bstripe((?:\s*\.\w+){2,})\(/g)) {
      const call = path.replaceAll(/\s/g, '').slice(1);
      if (RESOURCES.test(call)) calls.add(call);
    }
  }
  return [...calls].sort();
}

/** Not `stripe.world.…`, which is the simulator's. */
const RESOURCES =
  /^(?:billing|billingPortal|checkout|customers|events|invoices|payment\w+|prices|products|subscriptions|v2|webhookEndpoints)\./;

it('every v1 request of the product is proved against the description that Stripe publishes', () => {
  const v1 = callsInSource().filter((call) => !call.startsWith('v2.'));
  const proved = new Set(REQUESTS.map(({ call }) => call.replace(/, .*/, '')));
  expect([...proved].sort()).toEqual(v1);
});

it('every v2 request of the product is one whose parameters the types of the official package hold', () => {
  expect(callsInSource().filter((call) => call.startsWith('v2.'))).toEqual([
    'v2.billing.meterEventAdjustments.create',
    'v2.billing.meterEventSession.create',
    'v2.billing.meterEventStream.create',
    'v2.billing.meterEvents.create',
    'v2.core.events.retrieve',
  ]);
  // Checked by tsc: an added or a misspelt member would not compile.
  type EventParams = Parameters<Stripe['v2']['billing']['meterEvents']['create']>[0];
  type StreamEvent = Parameters<Stripe['v2']['billing']['meterEventStream']['create']>[0]['events'][number];
  expectTypeOf<ReturnType<typeof v2Params>>().toExtend<EventParams>();
  expectTypeOf<ReturnType<typeof v2Params>>().toExtend<StreamEvent>();
});
