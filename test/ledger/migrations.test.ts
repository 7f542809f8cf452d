/** A ledger that an earlier program made is brought to this one's tables with everything in it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Database, Row } from '../../src/ledger/ledger.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { openTemporary, type TemporaryDatabase } from '../support/sqlite.ts';

const ACCOUNTS_BY_CUSTOMER = 25;
let opened: TemporaryDatabase;
beforeEach(async () => {
  opened = await openTemporary();
});
afterEach(() => opened.close());

/** Brings the tables to the version before that one, as a program that knows no later one would. */
async function migrateTo(database: Database, before: number): Promise<void> {
  const stops: Database = {
    batch(statements) {
      const last = statements.at(-1);
      if (last?.sql.startsWith('INSERT INTO schema_version') && last.params[0] === before)
        throw new Error('far enough');
      return database.batch(statements);
    },
  };
  await expect(migrate(stops)).rejects.toThrow('far enough');
}

const rowsOf = async (database: Database, sql: string): Promise<readonly Row[]> =>
  (await database.batch([{ sql, params: [] }]))[0] ?? [];

it('keeps every column of every account', async () => {
  const { database } = opened;
  await migrateTo(database, ACCOUNTS_BY_CUSTOMER);
  const columns = (await rowsOf(database, `SELECT name, type FROM pragma_table_info('accounts')`)).map(
    ({ name, type }) => ({ name: String(name), isText: type === 'TEXT' }),
  );
  expect(columns.length).toBe(27);
  const names = columns.map(({ name }) => name).join(', ');
  for (const customer of ['cus_b', 'cus_a'])
    await database.batch([
      {
        sql: `INSERT INTO accounts (${names}) VALUES (${columns.map(() => '?').join(', ')})`,
        params: columns.map(({ name, isText }, at) =>
          name === 'customer' ? customer : isText ? `${customer} ${name}` : at + 1,
        ),
      },
    ]);
  const all = `SELECT ${names} FROM accounts ORDER BY customer`;
  const before = await rowsOf(database, all);
  await migrate(database);
  expect(await rowsOf(database, all)).toEqual(before);
  expect(before.length).toBe(2);
});

it('leaves a ledger that goes on: what was granted, spent and held before is there after', async () => {
  const { database } = opened;
  const customer = 'cus_money';
  await migrateTo(database, ACCOUNTS_BY_CUSTOMER);
  const before = createLedger({ database, bootId: 'before' });
  const grant = { id: 'g', name: null, category: 'paid', priority: 50, applies: true } as const;
  const times = { effectiveAtMs: 0, expiresAtMs: null, createdAtMs: 0, voidedAtMs: null };
  await before.recordGrants({
    customer,
    readAtMs: 1,
    grants: [{ ...grant, ...times, amountPico: '100', balancePico: '100' }],
  });
  const account = await before.account(customer);
  const money = await before.balance(customer, 2);

  await migrate(database);
  const after = createLedger({ database, bootId: 'after' });
  expect(await after.account(customer)).toEqual(account);
  expect(await after.balance(customer, 2)).toEqual(money);
  await after.changeAccount(customer, { mode: 'strict' }, 3);
  expect(await after.account(customer)).toMatchObject({ mode: 'strict', hasHadGrant: true });
});
