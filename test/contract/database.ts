/** What every driver of the Database port must do. A driver's test calls `describeDatabase` with a way to open a fresh one. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LedgerUnavailable, type Database, type Statement } from '../../src/ledger/ledger.ts';

export interface Opened {
  readonly database: Database;
  close(): Promise<void>;
}

const CREATE = `CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY, body TEXT, amount BIGINT)`;
const INSERT = `INSERT INTO notes (id, body, amount) VALUES (?, ?, CAST(? AS BIGINT))`;
const READ = `SELECT id, body, CAST(amount AS TEXT) AS amount FROM notes WHERE id = ?`;

const insert = (id: string, body: string | null = null, amount: string | null = null): Statement => ({
  sql: INSERT,
  params: [id, body, amount],
});
const read = (id: string): Statement => ({ sql: READ, params: [id] });

export function describeDatabase(name: string, open: () => Promise<Opened>): void {
  describe(`the Database port on ${name}`, () => {
    let opened: Opened;
    beforeAll(async () => {
      opened = await open();
      await opened.database.batch([{ sql: CREATE, params: [] }]);
    });
    afterAll(() => opened.close());
    const batch: Database['batch'] = (statements) => opened.database.batch(statements);

    it('answers each statement in its place, rows or none', async () => {
      const answers = await batch([insert('a1', 'x'), read('a1'), read('nobody'), insert('a2'), read('a2')]);
      expect(answers.map((rows) => rows.map((row) => row['id']))).toEqual([[], ['a1'], [], [], ['a2']]);
    });

    it('answers an empty batch with no answers', async () => {
      expect(await batch([])).toEqual([]);
    });

    it('does all of a batch or none of it', async () => {
      await batch([insert('b1')]);
      await expect(batch([insert('b2'), insert('b1'), insert('b3')])).rejects.toThrow(LedgerUnavailable);
      expect(await batch([read('b2'), read('b3')])).toEqual([[], []]);
    });

    it('keeps the cause of a failure', async () => {
      const failure = await batch([{ sql: 'SELECT * FROM nowhere', params: [] }]).catch(
        (error: unknown) => error,
      );
      expect(failure).toBeInstanceOf(LedgerUnavailable);
      expect(String((failure as LedgerUnavailable).cause)).toContain('nowhere');
    });

    it.each(['9007199254740993', '-9007199254740993', '9223372036854775807', '0'])(
      'keeps the integer %s to the digit when it crosses as text',
      async (amount) => {
        const [, rows] = await batch([insert(`n${amount}`, null, amount), read(`n${amount}`)]);
        expect(rows).toEqual([{ id: `n${amount}`, body: null, amount }]);
      },
    );

    it('keeps numbers bound to integer columns whole', async () => {
      const sql = `SELECT amount FROM notes WHERE id = 'whole'`;
      const [, rows] = await batch([
        {
          sql: `INSERT INTO notes (id, amount) VALUES ('whole', ?)`,
          params: [1_790_000_000_123],
        },
        { sql, params: [] },
      ]);
      expect(Number(rows?.[0]?.['amount'])).toBe(1_790_000_000_123);
    });

    it.each([
      'naïve',
      '日本語',
      '👩‍👩‍👧‍👦',
      'line\nbreak',
      "'; DROP TABLE notes; --",
      '',
      '\u2028',
      'x'.repeat(100_000),
    ])('keeps text as it is: %#', async (body) => {
      const id = `t${body.length}.${body.slice(0, 8)}`;
      const [, rows] = await batch([insert(id, body), read(id)]);
      expect(rows?.[0]?.['body']).toBe(body);
    });

    it('gives each of many concurrent batches its own answers', async () => {
      const numbers = Array.from({ length: 300 }, (_, at) => at);
      const answers = await Promise.all(
        numbers.map((at) => batch([insert(`c${at}`, `body ${at}`), read(`c${at}`)])),
      );
      expect(answers.map(([, rows]) => rows?.[0]?.['body'])).toEqual(numbers.map((at) => `body ${at}`));
    });

    it('lets a failing batch harm none of those given with it', async () => {
      await batch([insert('d0')]);
      const outcomes = await Promise.allSettled(
        ['d1', 'd0', 'd2', 'd0', 'd3'].map((id) => batch([insert(id), insert(`${id}.more`)])),
      );
      expect(outcomes.map(({ status }) => status)).toEqual([
        'fulfilled',
        'rejected',
        'fulfilled',
        'rejected',
        'fulfilled',
      ]);
      const found = await batch(['d1.more', 'd2.more', 'd3.more', 'd0.more'].map(read));
      expect(found.map((rows) => rows.length)).toEqual([1, 1, 1, 0]);
    });

    it('runs batches in the order they were given', async () => {
      const bump = { sql: `UPDATE notes SET body = body || ? WHERE id = 'order'`, params: ['x'] };
      await batch([insert('order', '')]);
      const lengths = await Promise.all(
        Array.from({ length: 50 }, () =>
          batch([bump, read('order')]).then(([, rows]) => rows?.[0]?.['body']),
        ),
      );
      expect(lengths).toEqual(Array.from({ length: 50 }, (_, at) => 'x'.repeat(at + 1)));
    });
  });
}
