import { expect, it } from 'vitest';
import { adminObject, databaseOf } from '../../src/assemble/objects.ts';
import { LedgerUnavailable } from '../../src/ledger/ledger.ts';

const asked = (path: string, body?: string): Request =>
  new Request(`https://gate.example/admin/v1${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    ...(body === undefined ? {} : { body }),
  });

it('an object that cannot be asked is a ledger that is unavailable, since its own errors come without their class', async () => {
  const database = databaseOf({ batch: () => Promise.reject(new Error('Durable Object reset')) });
  await expect(database.batch([])).rejects.toThrow(LedgerUnavailable);
});

it.each([
  ['the query', asked('/calls?customer=cus_asked')],
  ['the path', asked('/customers/cus_asked/credit?customer=cus_other')],
  ['an encoded path', asked('/customers/cus%5Fasked?customer=cus_other', '{}')],
  ["a budget's body", asked('/budgets?customer=cus_other', '{"customer":"cus_asked"}')],
  ["a comparison's body", asked('/reconciliations', '{"customer":"cus_asked"}')],
  ['the query, of a budget of a key', asked('/budgets?customer=cus_asked', '{"key":"abc"}')],
  ['the query, of a comparison without a body', asked('/reconciliations?customer=cus_asked', '')],
])('the operator reaches the customer whom he names in %s', async (_, request) => {
  expect(await adminObject(request)).toBe('cus_asked');
});

it.each(['/calls', '/customers/cus_asked%2Fx', '/customers/%zz', '/calls?customer=keys'])(
  'the operator who names no customer in %s is asked whom he means',
  async (path) => {
    await expect(adminObject(asked(path))).rejects.toMatchObject({ code: 'invalid_request' });
  },
);
