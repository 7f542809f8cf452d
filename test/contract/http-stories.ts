/** HTTP cases that take several steps: a customer's standing with Stripe, callers who leave, keys, and the lists. */
import { describe, expect, it } from 'vitest';
import { type Ask, SERVICE_KEY, type World } from './http-world.ts';

const chat = (model: string, more: object = {}): Ask => ({
  body: { model: `acme/${model}`, messages: [{ role: 'user', content: 'What is the fare?' }], ...more },
});

type Given = () => World;

export function describeStories(given: Given): void {
  describeCustomers(given);
  describeMoney(given);
  describeWebhooks(given);
  describeCallers(given);
  describeReads(given);
  describeAttempts(given);
}

const lookUps = ({ stripe }: World, customer: string): number =>
  stripe.requests.filter(({ path }) => path === `/v1/customers/${customer}`).length;

function describeCustomers(given: Given): void {
  it('refuses a customer Stripe does not know, and asks Stripe once', async () => {
    const world = given();
    for (const _time of [1, 2, 3]) {
      const reply = await world.ask('cus_nobody', chat('plain'));
      expect([reply.status, reply.headers.get('x-faregate-error')]).toEqual([403, 'customer_not_found']);
    }
    expect(lookUps(world, 'cus_nobody')).toBe(1);
  });

  it('asks Stripe once about a customer it knows', async () => {
    const world = given();
    const customer = world.newCustomer();
    for (const _time of [1, 2, 3]) expect((await world.ask(customer, chat('plain'))).status).toBe(200);
    expect(lookUps(world, customer)).toBe(1);
  });

  it('refuses a new customer while Stripe is down, and serves him when it is back', async () => {
    const world = given();
    const customer = world.newCustomer();
    world.stripe.faults.add({ route: `GET /v1/customers/${customer}`, kind: 'server_error' });
    const reply = await world.ask(customer, chat('plain'));
    expect([reply.status, reply.headers.get('x-faregate-error')]).toEqual([503, 'customer_unverified']);
    expect((await world.ask(customer, chat('plain'))).status).toBe(200);
  });

  it('refuses a customer who was deleted', async () => {
    const world = given();
    const customer = world.newCustomer();
    expect((await world.ask(customer, chat('plain'))).status).toBe(200);
    expect((await world.tell(await world.happens('customer.deleted', { customer }))).status).toBe(200);
    const reply = await world.ask(customer, chat('plain'));
    expect([reply.status, reply.headers.get('x-faregate-error')]).toEqual([403, 'customer_not_found']);
  });
}

function describeMoney(given: Given): void {
  it('refuses a customer whose alert has fired, and serves him after a credit grant', async () => {
    const world = given();
    const customer = world.newCustomer();
    expect((await world.ask(customer, chat('plain'))).status).toBe(200);
    await world.tell(await world.happens('billing.alert.triggered', { customer }));
    const asked = world.upstream.seen.length;
    const refused = await world.ask(customer, chat('plain'));
    expect(refused.status).toBe(402);
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(refused.headers.get('x-faregate-error')).toBe('alert_triggered');
    expect(JSON.parse(refused.text)).toMatchObject({
      error: {
        type: 'insufficient_quota',
        param: null,
        code: 'alert_triggered',
        metadata: { remedy_hint: expect.any(String), limit_source: expect.any(String) },
      },
    });
    expect(world.upstream.seen).toHaveLength(asked);
    await world.tell(await world.happens('billing.credit_grant.created', { customer }));
    expect((await world.ask(customer, chat('plain'))).status).toBe(200);
    expect(await world.billed(customer)).toEqual({ input: 22, output: 16 });
  });

  it('refuses one customer for his alert and serves the others', async () => {
    const world = given();
    const [blocked, other] = [world.newCustomer(), world.newCustomer()];
    await world.tell(await world.happens('billing.alert.triggered', { customer: blocked }));
    expect((await world.ask(blocked, chat('plain'))).status).toBe(402);
    expect((await world.ask(other, chat('plain'))).status).toBe(200);
  });
}

function describeWebhooks(given: Given): void {
  it('takes a webhook that comes twice, once', async () => {
    const world = given();
    const customer = world.newCustomer();
    const alert = await world.happens('billing.alert.triggered', { customer });
    const grant = await world.happens('billing.credit_grant.created', { customer });
    for (const body of [alert, grant, alert, alert]) expect((await world.tell(body)).status).toBe(200);
    expect((await world.ask(customer, chat('plain'))).status).toBe(200);
  });

  it.each([
    ['signed with another secret', { secret: 'whsec_wrong' }],
    ['signed 301 seconds ago', { offsetS: -302 }],
    ['signed 301 seconds ahead', { offsetS: 302 }],
  ])('refuses a webhook %s', async (_how, signing) => {
    const world = given();
    const customer = world.newCustomer();
    const body = await world.happens('billing.alert.triggered', { customer });
    expect((await world.tell(body, signing)).status).toBe(400);
    expect((await world.ask(customer, chat('plain'))).status).toBe(200);
  });

  it('refuses a webhook without a signature, or over 1 MiB', async () => {
    const { place } = given();
    for (const body of ['{}', 'x'.repeat(1_100_000)]) {
      expect((await place.fetch('/webhooks/stripe', { method: 'POST', body })).status).toBe(400);
    }
  });
}

function describeCallers(given: Given): void {
  // How soon a runtime notices that a caller has left is its own affair: on a busy machine the reply may end before.
  it('bills a caller who left in the middle of a stream in full', { retry: 3 }, async () => {
    const world = given();
    const customer = world.newCustomer();
    const leaving = new AbortController();
    const response = await world.open(customer, {
      ...chat('stalls', { stream: true }),
      signal: leaving.signal,
    });
    const reader = response.body?.getReader();
    await reader?.read();
    leaving.abort();
    await reader?.cancel().catch(() => undefined);
    // The upstream waits until it is let go, so this request is answered after the leaving was noticed.
    await world.calls(customer);
    world.upstream.release();
    await expect
      .poll(async () => (await world.calls(customer))[0]?.state, { timeout: 5_000 })
      .toBe('settled');
    const [call] = await world.calls(customer);
    expect(call).toMatchObject({ outcome: 'caller_left', usage_source: 'reported' });
    expect(await world.billed(customer)).toEqual({ input: 11, output: 8 });
    expect(world.upstream.served.at(-1)?.finished).toBe(true);
  });

  it('delivers what was billed without being asked to', async () => {
    const world = given();
    const customer = world.newCustomer();
    await world.ask(customer, chat('plain', { stream: true }));
    const sums = (): number => world.stripe.sums().filter((sum) => sum.customer === customer).length;
    await expect.poll(sums, { timeout: 5_000 }).toBe(2);
  });

  it('serves many calls at once, of one customer and of several', async () => {
    const world = given();
    const customers = [world.newCustomer(), world.newCustomer(), world.newCustomer()];
    const asks = Array.from({ length: 30 }, (_, at) =>
      world.ask(customers[at % 3] ?? '', chat('plain', { stream: at % 2 === 0 })),
    );
    expect((await Promise.all(asks)).map(({ status }) => status)).toEqual(asks.map(() => 200));
    for (const customer of customers)
      expect(await world.billed(customer)).toEqual({ input: 110, output: 80 });
    for (const customer of customers) expect(lookUps(world, customer)).toBe(1);
  });

  it('serves a bound key for its own customer only', async () => {
    const world = given();
    const customer = world.newCustomer();
    const body = JSON.stringify({ customer, label: 'a test' });
    const made = await world.admin('/keys', { method: 'POST', body, headers: adminHeaders() });
    expect(made.status).toBe(201);
    const { secret } = made.json as { secret: string };
    const bound = (named: string | undefined): Ask => ({
      ...chat('plain'),
      headers: { authorization: `Bearer ${secret}`, 'x-stripe-customer-id': named },
    });
    // At once, as the first look-ups of a key often come.
    const replies = await Promise.all([1, 2, 3, 4].map(() => world.ask(customer, bound(undefined))));
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await world.ask(customer, bound(customer))).status).toBe(200);
    const other = await world.ask(customer, bound('cus_other'));
    expect([other.status, other.headers.get('x-faregate-error')]).toEqual([403, 'customer_mismatch']);
  });
}

const adminHeaders = (): Record<string, string> => ({
  authorization: 'Bearer admin-key-of-the-tests-0123456789abcdef',
  'content-type': 'application/json',
});

function describeReads(given: Given): void {
  describe('reads', () => {
    const caller = { headers: { authorization: `Bearer ${SERVICE_KEY}` } };

    it('lists aliases and models, to whoever has a key', async () => {
      const { place } = given();
      const list = (await (await place.fetch('/v1/models', caller)).json()) as { data: { id: string }[] };
      const ids = list.data.map(({ id }) => id);
      expect(ids).toContain('fast');
      expect(ids).toContain('acme/plain');
      expect((await place.fetch('/v1/models')).status).toBe(401);
    });

    it('shows one model, or says that there is none', async () => {
      const { place } = given();
      expect((await place.fetch('/v1/models/acme/plain', caller)).status).toBe(200);
      const none = await place.fetch('/v1/models/acme/none', caller);
      expect([none.status, none.headers.get('x-faregate-error')]).toEqual([404, 'model_not_found']);
    });

    it('says that it lives and that it is ready', async () => {
      const { place } = given();
      expect((await place.fetch('/healthz')).status).toBe(200);
      const ready = await place.fetch('/readyz');
      expect([ready.status, await ready.json()]).toEqual([200, { ready: true }]);
    });

    it("lists a customer's calls with their events", async () => {
      const world = given();
      const customer = world.newCustomer();
      await world.ask(customer, chat('plain'));
      await world.ask(customer, chat('tools'));
      await world.billed(customer);
      const calls = await world.calls(customer);
      expect(calls.map(({ model }) => model)).toEqual(['acme/tools', 'acme/plain']);
      expect(calls[1]).toMatchObject({ usage_source: 'reported', cost_usd: '0.0000403' });
      expect(calls.flatMap(({ events }) => events.map(({ state }) => state))).toEqual(
        Array.from({ length: 4 }, () => 'accepted'),
      );
    });

    it('refuses afterwards what Stripe had taken and thought better of', async () => {
      const world = given();
      const [other, customer] = [world.newCustomer(), world.newCustomer()];
      for (const one of [other, customer]) {
        await world.ask(one, chat('plain'));
        expect(await world.billed(one)).toEqual({ input: 11, output: 8 });
      }
      const news = await world.happens('v1.billing.meter.error_report_triggered', { customer });
      expect((await world.tell(news)).status).toBe(200);
      const statesOf = async (one: string): Promise<readonly string[]> =>
        (await world.calls(one)).flatMap(({ events }) => events.map(({ state }) => state)).toSorted();
      expect(await statesOf(customer)).toEqual(['accepted', 'refused']);
      expect(await statesOf(other)).toEqual(['accepted', 'accepted']);
    });

    it('sells credit by the link in a refusal, once, however often Stripe tells of it', async () => {
      const world = given();
      const customer = world.newCustomer();
      world.stripe.addCredit(customer, 1);
      const refused = await world.ask(customer, { body: { ...Object(chat('plain').body), max_tokens: 1e6 } });
      expect([refused.status, refused.headers.get('x-faregate-error')]).toEqual([
        402,
        'request_exceeds_balance',
      ]);
      const { error } = JSON.parse(refused.text) as { error: { metadata: { top_up_url: string } } };
      const { pathname } = new URL(error.metadata.top_up_url);
      const opened = await world.place.fetch(pathname, { redirect: 'manual' });
      expect(opened.status).toBe(303);
      await fetch(opened.headers.get('location') ?? '', { method: 'POST', redirect: 'manual' });
      const paid = world.stripe.world.events.findLast(({ type }) => type === 'checkout.session.completed');
      for (let time = 0; time < 3; time += 1)
        expect((await world.tell(JSON.stringify(paid))).status).toBe(200);
      const credit = async (): Promise<unknown> => (await world.admin(`/customers/${customer}/credit`)).json;
      await expect.poll(credit, { timeout: 10_000 }).toMatchObject({ credit_usd: '10.01' });
      const grants = [...world.stripe.world.grants.values()].filter((grant) => grant.customer === customer);
      expect(grants).toHaveLength(2);
      expect((await world.place.fetch(`${pathname}0`, { redirect: 'manual' })).status).toBe(403);
    });

    it('is closed to the operator without the admin key', async () => {
      const { place } = given();
      expect((await place.fetch('/admin/v1/calls?customer=cus_case1')).status).toBe(401);
    });
  });
}

function describeAttempts(given: Given): void {
  it('serves an alias by its next target when the first cannot be reached, and bills that one', async () => {
    const world = given();
    const customer = world.newCustomer();
    const body = { ...Object(chat('plain').body), model: 'either' };
    const reply = await world.ask(customer, { body });
    expect([reply.status, reply.headers.get('x-faregate-model')]).toEqual([200, 'acme/plain']);
    expect(await world.billed(customer)).toEqual({ input: 11, output: 8 });
  });

  it('gives a call repeated with its Idempotency-Key the first reply again, and one bill', async () => {
    const world = given();
    const customer = world.newCustomer();
    const headers = { 'idempotency-key': 'once' };
    const asked = world.upstream.seen.length;
    const first = await world.ask(customer, { ...chat('plain'), headers });
    const again = await world.ask(customer, { ...chat('plain'), headers });
    expect([again.status, again.text]).toEqual([200, first.text]);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    const other = await world.ask(customer, { ...chat('tools'), headers });
    expect([other.status, other.headers.get('x-faregate-error')]).toEqual([422, 'idempotency_key_reused']);
    expect(world.upstream.seen.length - asked).toBe(1);
    expect(await world.billed(customer)).toEqual({ input: 11, output: 8 });
  });
}
