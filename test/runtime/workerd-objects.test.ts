/** What the front and the objects behind it say of each other's requests, in workerd. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, startWorld, type World } from '../contract/http-world.ts';
import { startWorkerd } from '../support/start-workerd.ts';

describe('the front of the objects', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(startWorkerd);
  });
  afterAll(() => world?.close());

  it('imports no row of another customer into an object', async () => {
    const [one, other] = [world.newCustomer(), world.newCustomer()];
    const row = {
      identifier: 'imported-once',
      timestamp: new Date().toISOString(),
      payload_stripe_customer_id: other,
      payload_value: '5',
      payload_model: 'acme/plain',
      payload_token_type: 'input',
    };
    const put = { method: 'POST', body: JSON.stringify(row) };
    expect(await world.admin(`/import?customer=${one}`, put)).toMatchObject({
      json: { imported: 0, errors: [{ line: 1 }] },
    });
    expect(await world.admin(`/import?customer=${other}`, put)).toMatchObject({
      json: { imported: 1, errors: [] },
    });
    expect(await world.billed(one)).toEqual({});
    expect(await world.billed(other)).toEqual({ input: 5 });
  });

  it("passes on what an object says of a webhook, as the object's own words", async () => {
    const response = await world.tell('no JSON');
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { message: string } };
    expect(error.message).not.toContain('{');
  });

  it('knows no other spelling of a path', async () => {
    const ask = { path: '/v1/ch%61t/completions', body: { model: 'acme/plain', messages: [] } };
    expect(await world.ask(world.newCustomer(), ask)).toMatchObject({ status: 404 });
  });

  it('changes the customer whom the path names, whatever the query says', async () => {
    const [one, other] = [world.newCustomer(), world.newCustomer()];
    const frozen = await world.admin(`/customers/${one}?customer=${other}`, {
      method: 'POST',
      body: '{"frozen":true}',
    });
    expect(frozen.status).toBe(200);
    const ask = { body: { model: 'acme/plain', messages: [] } };
    expect(await world.ask(one, ask)).toMatchObject({ status: 402 });
    expect(await world.ask(other, ask)).toMatchObject({ status: 200 });
  });

  it('sets a budget in the ledger of the customer whom the body names, whatever the query says', async () => {
    const [one, other] = [world.newCustomer(), world.newCustomer()];
    const set = await world.admin(`/budgets?customer=${one}`, {
      method: 'POST',
      body: JSON.stringify({ customer: other, span: 'total', limit_usd: '0' }),
    });
    expect(set.status).toBe(201);
    const ask = { body: { model: 'acme/plain', messages: [] } };
    expect(await world.ask(one, ask)).toMatchObject({ status: 200 });
    expect(await world.ask(other, ask)).toMatchObject({ status: 402 });
  });

  it("tells a key's budget, which is in the ledger of each customer apart", async () => {
    const customer = world.newCustomer();
    const budget = { key: 'abc', span: 'day', limit_usd: '1.00' };
    await world.admin(`/budgets?customer=${customer}`, { method: 'POST', body: JSON.stringify(budget) });
    expect(await world.admin(`/budgets?customer=${customer}&key=abc`)).toMatchObject({
      json: { data: [budget] },
    });
  });
});

it('says that there are no links to buy credit where none are configured', async () => {
  const env = {
    STRIPE_SECRET_KEY: 'sk_test_sandbox',
    STRIPE_WEBHOOK_SECRET: 'whsec_of_the_tests',
    OPENAI_API_KEY: 'sk-upstream',
    FAREGATE_ADMIN_KEY: ADMIN_KEY,
  };
  const place = await startWorkerd(env, '');
  try {
    expect((await place.fetch('/top-up/x')).status).toBe(404);
  } finally {
    await place.close();
  }
});
