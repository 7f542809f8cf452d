import type { RequestListener } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { StripeUnreachable } from '../../../src/billing/ports.ts';
import { createStripeAccount } from '../../../src/billing/stripe/account.ts';
import { createStripeClient } from '../../../src/billing/stripe/client.ts';
import { retryAfterMs } from '../../../src/billing/stripe/answers.ts';
import { listen } from '../support.ts';
import type { TestServer } from '../support.ts';

let server: TestServer | undefined;
afterEach(() => server?.close());

async function accountAnswering(status: number, body: unknown, urls: string[] = []) {
  return accountAt((request, response) => {
    urls.push(request.url ?? '');
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  });
}
async function accountAt(answer: RequestListener, deadlineMs?: number) {
  server = await listen(answer);
  const stripe = createStripeClient({ secretKey: 'sk_test_x', apiBase: server.url });
  return createStripeAccount({
    stripe,
    ...(deadlineMs === undefined ? {} : { deadline: () => AbortSignal.timeout(deadlineMs) }),
  });
}

const missing = {
  error: { type: 'invalid_request_error', code: 'resource_missing', message: 'No such customer' },
};

describe('a customer', () => {
  it('exists when Stripe has it', async () => {
    const account = await accountAnswering(200, { id: 'cus_a', object: 'customer' });
    expect(await account.customerExists('cus_a')).toBe(true);
  });

  it('does not exist when Stripe says that it is deleted', async () => {
    const account = await accountAnswering(200, { id: 'cus_a', object: 'customer', deleted: true });
    expect(await account.customerExists('cus_a')).toBe(false);
  });

  it('does not exist when Stripe has none such', async () => {
    expect(await (await accountAnswering(404, missing)).customerExists('cus_a')).toBe(false);
  });

  it.each([
    [401, { error: { message: 'Invalid API Key' } }],
    [403, { error: { message: 'Not permitted' } }],
    [404, { error: { message: 'Unrecognized request URL' } }],
    [429, { error: { message: 'Busy' } }],
    [500, { error: { message: 'Oops' } }],
    [503, { message: 'a proxy' }],
    [200, {}],
  ])('is in doubt after %i %o', async (status, body) => {
    const account = await accountAnswering(status, body);
    await expect(account.customerExists('cus_a')).rejects.toThrow(StripeUnreachable);
  });

  it('is in doubt when no answer comes in time', async () => {
    const account = await accountAt(() => undefined, 50);
    await expect(account.customerExists('cus_a')).rejects.toThrow(StripeUnreachable);
  });
});

const balance = (value: number, currency = 'usd') => ({
  available_balance: { type: 'monetary', monetary: { currency, value } },
  ledger_balance: { type: 'monetary', monetary: { currency: 'usd', value: 500 } },
});

describe('credit', () => {
  it.each([
    [[], false],
    [[balance(0)], false],
    [[balance(0, 'eur'), balance(1)], true],
    [[balance(1, 'eur'), balance(0)], false],
    [[{ available_balance: { type: 'monetary', monetary: null } }], false],
  ])('of %o is available: %s', async (balances, expected) => {
    const urls: string[] = [];
    const account = await accountAnswering(200, { object: 'billing.credit_balance_summary', balances }, urls);
    expect(await account.hasAvailableCredit('cus_a')).toBe(expected);
    expect(decodeURIComponent(urls[0] ?? '')).toBe(
      '/v1/billing/credit_balance_summary?customer=cus_a&filter[type]=applicability_scope&filter[applicability_scope][price_type]=metered',
    );
  });

  it('of a customer Stripe does not have is none', async () => {
    expect(await (await accountAnswering(404, missing)).hasAvailableCredit('cus_a')).toBe(false);
  });

  it.each([403, 404])('is not to be known where the key may not read it (%i)', async (status) => {
    const account = await accountAnswering(status, { error: { message: 'No.' } });
    expect(await account.hasAvailableCredit('cus_a')).toBeUndefined();
  });

  it('is in doubt when Stripe cannot say', async () => {
    const account = await accountAnswering(500, { error: { message: 'Oops' } });
    await expect(account.hasAvailableCredit('cus_a')).rejects.toThrow(StripeUnreachable);
  });
});

describe('the base URL of Stripe', () => {
  it.each(['ftp://x', 'http://x/v1', 'http://u:p@x', 'http://x/?a', 'x', ''])('is not "%s"', (apiBase) => {
    expect(() => createStripeClient({ secretKey: 'sk_test_x', apiBase })).toThrow(TypeError);
  });

  it('needs a key that is not blank', () => {
    expect(() => createStripeClient({ secretKey: ' ' })).toThrow(TypeError);
  });
});

describe('retry-after', () => {
  it.each([
    [undefined, 0],
    ['', 0],
    ['2', 2_000],
    // The ledger keeps whole milliseconds, and reads no others.
    ['20.1234', 20_124],
    ['-5', 0],
    ['soon', 0],
    ['Sat, 21 Nov 2026 12:00:30 GMT', 30_000],
    ['99999999', 3_600_000],
  ])('of %s is %i ms', (header, ms) => {
    expect(retryAfterMs(header, Date.UTC(2026, 10, 21, 12))).toBe(ms);
  });
});
