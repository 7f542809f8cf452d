/** Usage in bulk: out of one ledger and into another. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BulkRow, csvCells, csvHeader, rowText } from '../src/billing/bulk/bulk-rows.ts';
import { createDelivery } from '../src/billing/delivery/delivery.ts';
import { type ExportRequest, exportText } from '../src/billing/bulk/exporter.ts';
import { createImporter, type ImportReport } from '../src/billing/bulk/importer.ts';
import type { Layout } from '../src/billing/delivery/layouts.ts';
import { createLedger } from '../src/ledger/create-ledger.ts';
import { violations } from '../src/ledger/invariants.ts';
import type { Delivery, Ledger, MeterEvent } from '../src/ledger/ledger.ts';
import { migrate } from '../src/ledger/migrations.ts';
import { createTestRuntime, testCrypto } from './billing/support.ts';
import { openTemporary, type TemporaryDatabase } from './support/sqlite.ts';

const NOW = Date.UTC(2026, 10, 21, 12);
const METER = 'token-billing-tokens';
const runtime = createTestRuntime(NOW);

interface Place {
  readonly ledger: Ledger;
  readonly sent: MeterEvent[];
  flush(answer?: Delivery['kind']): Promise<unknown>;
  export(more?: Partial<ExportRequest>): Promise<string>;
  import(text: string, more?: { format?: 'jsonl' | 'csv'; dryRun?: boolean }): Promise<ImportReport>;
  violations(): Promise<unknown>;
}

let opened: TemporaryDatabase[] = [];
let recorded = 0;
beforeEach(() => {
  opened = [];
  recorded = 0;
});
afterEach(async () => {
  for (const one of opened) await one.close();
});

async function place(layout: Layout = 'dimensions'): Promise<Place> {
  const temporary = await openTemporary();
  opened.push(temporary);
  await migrate(temporary.database);
  const ledger = createLedger({ database: temporary.database, bootId: 'boot' });
  const sent: MeterEvent[] = [];
  let kind: Delivery['kind'] = 'accepted';
  const send = async (events: readonly MeterEvent[]): Promise<readonly Delivery[]> => {
    sent.push(...events);
    const told = { kind, error: 'told by a test', notBeforeMs: runtime.nowMs };
    return events.map(({ identifier }) => Object.assign({ identifier }, told) as Delivery);
  };
  const base = { ledger, runtime, crypto: testCrypto, eventName: METER };
  const delivery = createDelivery({ ...base, sink: { send }, layouts: [layout] });
  const importer = createImporter({
    ledger,
    crypto: testCrypto,
    now: runtime.now,
    layout,
    names: { eventName: METER },
    costPico: (usage) => BigInt(usage.uncachedInput + usage.textOutput) * 1_000_000n,
    recorded: () => (recorded += 1),
  });
  return {
    ledger,
    sent,
    async flush(answer = 'accepted') {
      kind = answer;
      return delivery.flush();
    },
    async export(more = {}) {
      const request = {
        kind: 'lines',
        format: 'jsonl',
        plain: false,
        fromMs: 0,
        toMs: NOW + 1,
        ...more,
      } as const;
      const pieces: string[] = [];
      for await (const text of exportText({ ...base, destination: layout }, request)) pieces.push(text);
      return pieces.join('');
    },
    import: (text, { format = 'jsonl', dryRun = false } = {}) =>
      importer({ format, text, firstLine: 1, dryRun }),
    violations: () => violations(temporary.database),
  };
}

let calls = 0;
async function called(
  { ledger }: Place,
  tokens: readonly [number, number],
  customer = 'cus_a',
): Promise<void> {
  const id = `req_${String((calls += 1)).padStart(26, '0')}`;
  const call = {
    id,
    customer,
    keyId: 'k',
    endpoint: 'chat.completions',
    provider: 'demo',
    model: 'demo/a,"b"',
  };
  await ledger.admit({ ...call, stream: false, openedAtMs: NOW - 60_000 });
  const ended = { endedAtMs: NOW - 50_000 + calls, outcome: 'finished', status: 200 } as const;
  await ledger.settle({
    id,
    ...ended,
    usageSource: 'reported',
    lines: (['input', 'output'] as const).map((tokenType, at) => ({
      attempt: 1,
      model: call.model,
      tokenType,
      tokens: tokens[at] ?? 0,
    })),
    usageJson: '[]',
    costPico: String(tokens[0] * 1_000_003),
    responseId: null,
  });
}
const record = (more: Record<string, unknown> = {}, payload: Record<string, unknown> = {}): string =>
  JSON.stringify({
    identifier: 'r1',
    timestamp: NOW / 1000 - 60,
    event_name: METER,
    payload: {
      stripe_customer_id: 'cus_a',
      value: '12',
      model: 'openai/gpt-4o',
      token_type: 'input',
      ...payload,
    },
    ...more,
  });
const unit = (name: string): string =>
  JSON.stringify({
    identifier: 'u1',
    timestamp: NOW / 1000 - 60,
    event_name: name,
    payload: { stripe_customer_id: 'cus_a', value: '3' },
  });
const priced = (usd: string): string => record({ identifier: 'p1', faregate: { cost_usd: usd } });
const usedAgo = (seconds: number): string =>
  record({ identifier: `a${String(seconds)}`, timestamp: NOW / 1000 - seconds });
const totals = async ({ ledger }: Place) => {
  const { lines, events, costPico, unsealedLines } = await ledger.totals();
  return { lines, costPico, unsealedLines, events: events.map(({ state, tokens }) => ({ state, tokens })) };
};

describe('export', () => {
  it("writes events in Stripe's own shape, with ours beside it unless it is to be plain", async () => {
    const one = await place();
    await called(one, [12, 5]);
    await one.flush();
    const [first = ''] = (await one.export({ kind: 'events' })).split('\n');
    expect(JSON.parse(first)).toMatchObject({
      event_name: METER,
      timestamp: Math.floor((NOW - 50_000) / 1000),
      payload: { stripe_customer_id: 'cus_a', model: 'demo/a,"b"' },
      faregate: { state: 'accepted' },
    });
    const [plain = ''] = (await one.export({ kind: 'events', plain: true })).split('\n');
    expect(Object.keys(JSON.parse(plain) as object)).toEqual([
      'identifier',
      'timestamp',
      'event_name',
      'payload',
    ]);
    const csv = (await one.export({ kind: 'events', plain: true, format: 'csv' })).trim().split('\n');
    expect(csv[0]).toBe(
      'identifier,timestamp,event_name,payload_stripe_customer_id,payload_value,payload_model,payload_token_type',
    );
    expect(csv).toHaveLength(3);
    expect(csvCells(csv[1] ?? '')[5]).toBe('demo/a,"b"');
  });

  it('writes every call and line of a ledger that is many pages long, each once', async () => {
    const one = await place();
    for (let at = 0; at < 2_100; at += 1) await called(one, [at + 1, 1], at % 3 === 0 ? 'cus_b' : 'cus_a');
    await one.flush();
    const count = async (more: Partial<ExportRequest>): Promise<number> => {
      const lines = (await one.export(more)).trim().split('\n');
      return new Set(lines).size === lines.length ? lines.length : -1;
    };
    expect(await count({ kind: 'calls' })).toBe(2_100);
    expect(await count({ kind: 'calls', format: 'csv' })).toBe(2_101);
    expect(await count({ kind: 'lines' })).toBe(4_200);
    expect(await count({ kind: 'lines', customer: 'cus_b' })).toBe(1_400);
    const sum = (await one.export({ kind: 'events' }))
      .trim()
      .split('\n')
      .reduce(
        (total, line) => total + Number((JSON.parse(line) as { payload: { value: string } }).payload.value),
        0,
      );
    expect(sum).toBe((2_100 * 2_101) / 2 + 2_100);
  });

  it('writes only what ended in the time asked for', async () => {
    const one = await place();
    await called(one, [12, 5]);
    expect(await one.export({ toMs: NOW - 100_000 })).toBe('');
    expect((await one.export({ fromMs: NOW - 100_000 })).trim().split('\n')).toHaveLength(2);
  });
});

describe('import', () => {
  it('makes a record a billable line that is delivered like any other', async () => {
    const one = await place();
    expect(await one.import(record())).toEqual({ imported: 1, already: 0, errors: [] });
    expect(recorded).toBe(1);
    await one.flush();
    expect(one.sent).toMatchObject([
      { customer: 'cus_a', value: '12', model: 'openai/gpt-4o', tokenType: 'input', eventName: METER },
    ]);
    expect(await totals(one)).toMatchObject({ costPico: '12000000', unsealedLines: 0 });
    const [call] = await one.ledger.callUsage({ customer: 'cus_a', limit: 10 });
    expect(call).toMatchObject({ keyId: 'import', endedAtMs: NOW - 60_000 });
    expect(await one.violations()).toEqual([]);
  });

  it('takes a record once, and refuses another one under its identifier', async () => {
    const one = await place();
    await one.import(`${record()}\n${record()}\n`);
    expect(await one.import(record())).toEqual({ imported: 0, already: 1, errors: [] });
    expect(await one.import(record({}, { value: '13' }))).toMatchObject({
      imported: 0,
      errors: [{ line: 1, message: expect.stringContaining('"r1"') as string }],
    });
    expect((await one.ledger.totals()).settledCalls).toBe(1);
  });

  it('says every row at fault with its line, and takes the others', async () => {
    const one = await place();
    const rows = [
      record(),
      '{',
      '[]',
      '',
      record({ identifier: '' }),
      record({ identifier: 'r2' }, { value: '1.5' }),
      record({ identifier: 'r3' }, { stripe_customer_id: 'bob' }),
      record({ identifier: 'r4', timestamp: NOW / 1000 - 35 * 86_400 }),
      record({ identifier: 'r5', timestamp: NOW / 1000 + 3_600 }),
      record({ identifier: 'r6' }, { token_type: 'thought' }),
      record({ identifier: 'r7' }, { model: 'gpt' }),
      record({ identifier: 'r8', faregate: { state: 'lost' } }),
      record({ identifier: 'r9', faregate: { cost_usd: '-1' } }),
      record({ identifier: 'r10' }, { value: { a: 1 } }),
      record({ identifier: 'r11' }),
    ];
    const report = await one.import(rows.join('\n'));
    expect(report).toMatchObject({ imported: 2, already: 0 });
    expect(report.errors.map(({ line }) => line)).toEqual([2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    expect(report.errors.every(({ message }) => message.length > 20)).toBe(true);
    expect((await one.ledger.totals()).settledCalls).toBe(2);
  });

  it('writes nothing in a dry run, and says what it would', async () => {
    const one = await place();
    expect(await one.import(record(), { dryRun: true })).toEqual({ imported: 1, already: 0, errors: [] });
    expect((await one.ledger.totals()).settledCalls).toBe(0);
    expect(recorded).toBe(0);
  });

  it('takes CSV with its columns in any order, and units that are no tokens', async () => {
    const one = await place();
    const text =
      'payload_value,timestamp,identifier,payload_stripe_customer_id,event_name\n3,2026-11-21T11:00:00Z,u1,cus_a,documents\n';
    expect(await one.import(text, { format: 'csv' })).toMatchObject({ imported: 1, errors: [] });
    await one.flush();
    expect(one.sent).toMatchObject([{ eventName: 'documents', value: '3' }]);
    await expect(one.import('a,b\n1,2', { format: 'csv' })).rejects.toThrow('identifier');
  });

  it.each(['lines', 'events'] as const)(
    'takes nothing that this ledger has itself (export %s)',
    async (kind) => {
      const one = await place();
      await called(one, [12, 5]);
      await one.flush();
      if (kind === 'lines') await called(one, [30, 7]);
      await one.ledger.record({
        identifier: 'fg_rec_unit',
        destination: 'dimensions',
        eventName: 'documents',
        customer: 'cus_a',
        model: '',
        tokenType: '',
        value: '3',
        timestampMs: NOW - 1_000,
      });
      const before = await totals(one);
      const text = await one.export({ kind });
      const rows = text.trim().split('\n').length;
      for (const dryRun of [true, false])
        expect(await one.import(text, { dryRun })).toEqual({ imported: 0, already: rows, errors: [] });
      expect(await totals(one)).toEqual(before);
      const plain = await one.export({ kind: 'events', plain: true });
      expect(await one.import(plain)).toMatchObject({ imported: 0 });
    },
  );

  it('takes nothing that this ledger has sent again under a new name since', async () => {
    const one = await place();
    await called(one, [12, 5]);
    await one.flush('retry');
    const text = await one.export({ kind: 'events' });
    runtime.nowMs += 1_000;
    await one.flush();
    runtime.nowMs = NOW;
    const refused = one.sent.map(({ identifier }) => ({ identifier, error: 'told by a test' }));
    await one.ledger.applyVerdict({
      id: 'evt_1',
      type: 'v1.billing.meter.error_report_triggered',
      message: '',
      errorCount: 2,
      refused,
      receivedAtMs: NOW,
      validatedUntilMs: NOW,
    });
    for (const { identifier } of refused) await one.ledger.retryEvent(identifier, NOW);
    const before = await totals(one);
    for (const dryRun of [true, false])
      expect(await one.import(text, { dryRun })).toEqual({ imported: 0, already: 2, errors: [] });
    expect(await totals(one)).toEqual(before);
  });

  it.each(['jsonl', 'csv'] as const)(
    'brings an exported ledger into an empty one, to the same totals, and sends nothing again (%s)',
    async (format) => {
      const old = await place();
      await called(old, [12, 5]);
      await old.flush('accepted');
      await called(old, [30, 7]);
      await old.flush('refused');
      await called(old, [100, 9]);
      await old.flush('ambiguous');
      await called(old, [1_000, 11]);
      await old.ledger.record({
        identifier: 'unit',
        destination: 'dimensions',
        eventName: 'documents',
        customer: 'cus_a',
        model: '',
        tokenType: '',
        value: '3',
        timestampMs: NOW - 1_000,
      });
      const fresh = await place();
      const text = await old.export({ format });
      expect(await fresh.import(text, { format })).toEqual({ imported: 9, already: 0, errors: [] });
      expect(await fresh.import(text, { format })).toEqual({ imported: 0, already: 9, errors: [] });
      const before = await totals(old);
      const after = await totals(fresh);
      expect(after.lines).toEqual(before.lines);
      expect(after.costPico).toBe(before.costPico);
      expect(after.unsealedLines).toBe(before.unsealedLines);
      const tokensOf = (list: typeof before.events, state: string): number =>
        list.find((one) => one.state === state)?.tokens ?? 0;
      expect(tokensOf(after.events, 'accepted')).toBe(17);
      expect(tokensOf(after.events, 'refused')).toBe(37);
      expect(tokensOf(after.events, 'quarantined')).toBe(tokensOf(before.events, 'ambiguous'));
      await fresh.flush();
      expect(fresh.sent.map(({ value }) => Number(value)).toSorted((a, b) => a - b)).toEqual([3, 11, 1_000]);
      expect(await fresh.violations()).toEqual([]);
    },
  );

  it('takes a unit of another meter, and a cost that was given as another, for another record', async () => {
    const one = await place('cost');
    expect(await one.import(unit('documents'))).toMatchObject({ imported: 1 });
    expect(await one.import(unit('documents'))).toMatchObject({ already: 1, errors: [] });
    expect(await one.import(unit('pages'))).toMatchObject({ already: 0, errors: [{ line: 1 }] });
    expect(await one.import(priced('0.10'))).toMatchObject({ imported: 1 });
    expect(await one.import(priced('0.1'))).toMatchObject({ already: 1, errors: [] });
    expect(await one.import(priced('0.20'))).toMatchObject({ already: 0, errors: [{ line: 1 }] });
  });

  it('refuses a day that is in no calendar, and what is said twice', async () => {
    const one = await place();
    for (const day of ['2026-11-31', '2026-02-30', '2026-00-10'])
      expect(await one.import(record({ timestamp: `${day}T06:00:00Z` }))).toMatchObject({
        errors: [{ message: expect.stringContaining('must be seconds, or a moment') as string }],
      });
    const header =
      'identifier,timestamp,payload_stripe_customer_id,payload_value,payload_model,payload_token_type';
    const row = `d1,${String(NOW / 1000 - 60)},cus_a,2,openai/gpt-4o,input`;
    await expect(one.import(`${header},payload_value\n${row},7`, { format: 'csv' })).rejects.toThrow('twice');
    expect(await one.import(record({ payload_value: '7' }))).toMatchObject({
      imported: 0,
      errors: [{ message: expect.stringContaining('twice') as string }],
    });
  });

  it('leaves an hour for the sending of usage that Stripe will soon take no more', async () => {
    const one = await place();
    expect(await one.import(usedAgo(34 * 86_400 - 60))).toMatchObject({ imported: 0, errors: [{ line: 1 }] });
    expect(await one.import(usedAgo(34 * 86_400 - 3_700))).toMatchObject({ imported: 1, errors: [] });
    await one.flush();
    expect(one.sent).toHaveLength(1);
  });

  it('has nothing in doubt about a row of the cost layout that is worth nothing', async () => {
    const one = await place('cost');
    const own = { state: 'ambiguous', cost_usd: '0.00' };
    expect(await one.import(record({ faregate: own }))).toMatchObject({ imported: 1 });
    expect((await one.ledger.totals()).events).toMatchObject([{ state: 'cancelled', tokens: 0 }]);
    expect(await one.violations()).toEqual([]);
  });

  it('bills costs that no 64 bits hold the sum of', async () => {
    const one = await place('cost');
    const rows = Array.from({ length: 120 }, (_, at) =>
      record({ identifier: `c${String(at)}`, faregate: { cost_usd: '9000000' } }),
    );
    expect(await one.import(rows.join('\n'))).toMatchObject({ imported: 120, errors: [] });
    await one.flush();
    expect(one.sent.reduce((sum, { value }) => sum + BigInt(value), 0n)).toBe(120n * 9_000_000_000_000n);
    expect((await one.ledger.totals()).costPico).toBe(String(120n * 9_000_000n * 10n ** 12n));
  });

  it('puts down to the cost layout what was billed by cost', async () => {
    const one = await place('cost');
    const own = { state: 'confirmed', cost_usd: '0.000123456789' };
    expect(await one.import(record({ faregate: own }))).toMatchObject({ imported: 1 });
    expect((await one.ledger.totals()).events).toMatchObject([{ state: 'confirmed', tokens: 123 }]);
    await one.flush();
    expect(one.sent).toEqual([]);
    expect(await one.violations()).toEqual([]);
  });
});

describe('CSV', () => {
  it('is read as it was written, whatever is in a cell', () => {
    const row: BulkRow = {
      identifier: 'a,b',
      timestamp: '1',
      eventName: '"q"',
      customer: 'c',
      value: '2',
      model: ',,"',
      tokenType: '',
      state: '',
      costUsd: '',
      call: '',
      event: '',
    };
    const cells = csvCells(rowText(row, { format: 'csv', plain: true }));
    expect(cells).toEqual(['a,b', '1', '"q"', 'c', '2', ',,"', '']);
    expect(csvHeader(true).split(',')).toHaveLength(cells.length);
    expect(() => csvCells('a,"b')).toThrow('quotes');
  });
});
