import { onTestFinished, expect, it } from 'vitest';
import { examine } from '../../src/cli/doctor.ts';
import { settingsFor, type Settings } from '../../src/config.ts';
import { createStripeSimulator } from '../../src/simulator/stripe.ts';
import { listen } from '../billing/support.ts';
import { KEY_GIVEN, startTestUpstream } from '../support/upstream.ts';

const KEY = 'sk_test_sandbox';

/** A gateway's settings with everything well around it. */
async function house(env: Record<string, string> = {}): Promise<{
  settings: Settings;
  stripe: ReturnType<typeof createStripeSimulator>;
}> {
  const upstream = await startTestUpstream();
  const stripe = createStripeSimulator({ now: Date.now, webhookSecret: 'whsec_x', apiKeys: [KEY] });
  await stripe.listen();
  onTestFinished(async () => {
    await Promise.all([upstream.close(), stripe.close()]);
  });
  const result = settingsFor('start', {
    env: {
      STRIPE_API_BASE: stripe.url,
      STRIPE_SECRET_KEY: KEY,
      STRIPE_WEBHOOK_SECRET: 'whsec_x',
      OPENAI_API_KEY: KEY_GIVEN,
      OPENAI_BASE_URL: upstream.url,
      FAREGATE_SERVICE_KEY: 'service-key-of-the-tests-0123456789abcdef',
      FAREGATE_ADMIN_KEY: 'admin-key-of-the-tests-0123456789abcdef',
      DATABASE_URL: 'sqlite:/tmp/faregate-doctor/none.db',
      ...env,
    },
    readFile: () => undefined,
  });
  if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
  return { settings: result.settings, stripe };
}

/** A provider that takes no key. */
async function refusing(): Promise<string> {
  const server = await listen((_request, response) => response.writeHead(401).end());
  onTestFinished(() => server.close());
  return `${server.url}/v1`;
}

const notWell = async (settings: Settings): Promise<readonly (readonly string[])[]> =>
  (await examine(settings))
    .filter(({ state }) => state === 'wrong' || state === 'unreachable')
    .map(({ check, state }) => [check, state]);

it('finds nothing wrong where all is well', async () => {
  const { settings, stripe } = await house();
  stripe.addMeter(settings.billing.eventName, ['model', 'token_type']);
  expect(await notWell(settings)).toEqual([]);
  const checks = (await examine(settings)).map(({ check }) => check);
  expect(checks).toEqual(
    expect.arrayContaining([
      'configuration',
      'ledger',
      'stripe key',
      'clock',
      'meters',
      'webhook',
      'provider openai',
    ]),
  );
});

it('says of a missing meter which one', async () => {
  const { settings } = await house();
  expect(await notWell(settings)).toEqual([['meters', 'wrong']]);
});

it('tells a meter without dimensions from one that has them', async () => {
  const { settings, stripe } = await house();
  stripe.addMeter(settings.billing.eventName, []);
  const meters = (await examine(settings)).find(({ check }) => check === 'meters');
  expect(meters?.message).toContain('dimensions');
});

it("tells a revoked key of Stripe's, and asks no further", async () => {
  const { settings } = await house({ STRIPE_SECRET_KEY: 'sk_test_revoked' });
  expect(await notWell(settings)).toEqual([['stripe key', 'unreachable']]);
});

it('tells that Stripe cannot be reached', async () => {
  const { settings } = await house({ STRIPE_API_BASE: 'http://127.0.0.1:1' });
  expect(await notWell(settings)).toEqual([['stripe key', 'unreachable']]);
});

it('tells a provider that cannot be reached', async () => {
  const { settings, stripe } = await house({ OPENAI_BASE_URL: 'http://127.0.0.1:1/v1' });
  stripe.addMeter(settings.billing.eventName, ['model', 'token_type']);
  expect(await notWell(settings)).toEqual([['provider openai', 'unreachable']]);
});

it("tells a provider's key that is refused", async () => {
  const { settings, stripe } = await house({ OPENAI_BASE_URL: await refusing() });
  stripe.addMeter(settings.billing.eventName, ['model', 'token_type']);
  expect(await notWell(settings)).toEqual([['provider openai', 'unreachable']]);
});

it('tells a ledger that cannot be written', async () => {
  const { settings, stripe } = await house({ DATABASE_URL: 'sqlite:/etc/hostname/ledger.db' });
  stripe.addMeter(settings.billing.eventName, ['model', 'token_type']);
  expect(await notWell(settings)).toEqual([['ledger', 'wrong']]);
});
