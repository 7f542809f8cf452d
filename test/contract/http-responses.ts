/** Responses that a provider keeps, on every way the gateway runs: whose they are, and that each is billed once. */
import { expect, it } from 'vitest';
import type { Ask, World } from './http-world.ts';

const create = (more: object = {}): Ask => ({
  path: '/v1/responses',
  body: { model: 'keeper/gpt-plain', input: 'Where?', ...more },
});
const read = (id: string, rest = '', method = 'GET'): Ask => ({ method, path: `/v1/responses/${id}${rest}` });
const idOf = (text: string): string => (JSON.parse(text) as { id: string }).id;

export function describeResponses(given: () => World): void {
  it('gives a stored response to the customer who made it, and to nobody else', async () => {
    const world = given();
    const [mine, theirs] = [world.newCustomer(), world.newCustomer()];
    const id = idOf((await world.ask(mine, create())).text);
    const seen = world.responses.seen.length;
    for (const ask of [
      read(id),
      read(id, '', 'DELETE'),
      read(id, '/cancel', 'POST'),
      read(id, '/input_items'),
    ]) {
      const reply = await world.ask(theirs, ask);
      expect([reply.status, reply.headers.get('x-faregate-error')]).toEqual([404, 'not_found']);
      expect(JSON.parse(reply.text)).toHaveProperty('error.message', `Response with id '${id}' not found.`);
    }
    const next = await world.ask(theirs, create({ previous_response_id: id }));
    expect([next.status, next.headers.get('x-faregate-error')]).toEqual([400, 'previous_response_not_found']);
    expect(world.responses.seen).toHaveLength(seen);
    expect((await world.ask(mine, read(id, '?stream=true'))).text).toContain('event: response.completed');
    expect(idOf((await world.ask(mine, read(id))).text)).toBe(id);
    expect((await world.ask(mine, create({ previous_response_id: id }))).status).toBe(200);
    expect((await world.ask(mine, read(id, '', 'DELETE'))).text).toContain('"deleted":true');
    expect(await world.billed(mine)).toEqual({ input: 40, output: 18 });
    expect(await world.calls(theirs)).toEqual([]);
  });

  it('bills a response in the background once, when its customer sees its end', async () => {
    const world = given();
    const customer = world.newCustomer();
    const id = idOf((await world.ask(customer, create({ background: true }))).text);
    expect(await world.calls(customer)).toMatchObject([{ state: 'open', events: [] }]);
    world.responses.end(id);
    expect((await world.ask(customer, read(id))).text).toContain('"status":"completed"');
    expect(await world.calls(customer)).toMatchObject([{ state: 'settled', usage_source: 'reported' }]);
    await world.ask(customer, read(id));
    expect(await world.billed(customer)).toEqual({ input: 20, output: 9 });
  });

  it('bills a response in the background whose stream broke off', async () => {
    const world = given();
    const customer = world.newCustomer();
    const reply = await world.ask(
      customer,
      create({ model: 'keeper/breaks', background: true, stream: true }),
    );
    expect(reply.broken).toBe(true);
    const id = world.responses.latest();
    world.responses.end(id, 'incomplete');
    await world.ask(customer, read(id));
    expect(await world.billed(customer)).toEqual({ input: 20, output: 9 });
  });

  it('looks by itself at a response in the background', { timeout: 20_000 }, async () => {
    const world = given();
    const customer = world.newCustomer();
    world.responses.end(idOf((await world.ask(customer, create({ background: true }))).text));
    const settled = async (): Promise<string | undefined> => (await world.calls(customer))[0]?.state;
    await expect.poll(settled, { timeout: 15_000, interval: 100 }).toBe('settled');
    expect(await world.billed(customer)).toEqual({ input: 20, output: 9 });
  });
}
