/** Late verdicts where every customer has a ledger of his own. */
import { expect, it } from 'vitest';
import { announcing, importingOnly, routingVerdicts } from '../../src/ledger/customer-ledgers.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { Database, Ledger, MeterEvent } from '../../src/ledger/ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { createImporter } from '../../src/billing/bulk/importer.ts';
import { createNodeCrypto } from '../../src/platform/crypto.ts';
import { openMemory } from '../support/memory-database.ts';
import { callToOpen, ending } from '../contract/ledger-calls.ts';
import { sealOf } from '../contract/ledger-world.ts';

async function openLedger(): Promise<{ ledger: Ledger; database: Database }> {
  const database = openMemory();
  await migrate(database);
  return { database, ledger: createLedger({ database, bootId: 'boot' }) };
}

/** A customer's ledger with an event that Stripe took. */
async function customerWith(customer: string, account: Database) {
  const { ledger } = await openLedger();
  const failures: unknown[] = [];
  const announced = announcing(ledger, account, { now: () => 7, failed: (error) => failures.push(error) });
  const id = `call_of_${customer}`;
  await announced.admit(callToOpen({ id, customer }));
  await announced.settle(
    ending(id, { lines: [{ attempt: 1, model: 'm', tokenType: 'input', tokens: 3 }], endedAtMs: 5 }),
  );
  const lines = await announced.unsealed(10);
  const seals = lines.map((line) => sealOf([line], { customer }));
  await announced.seal(seals);
  const event = seals[0]!.event;
  await announced.lease({ nowMs: 10, leaseMs: 100, limit: 10 });
  await announced.mark([{ identifier: event.identifier, kind: 'accepted' }], 11);
  return { ledger, event, failures };
}

const stateOf = async (ledger: Ledger, { identifier }: MeterEvent): Promise<string | undefined> =>
  (await ledger.events({ identifier, limit: 1 })).data[0]?.state;

const verdictOf = (identifiers: readonly string[], errorCount = identifiers.length) => ({
  id: 'evt_1',
  type: 'v1.billing.meter.error_report_triggered',
  message: '',
  errorCount,
  refused: identifiers.map((identifier) => ({ identifier, error: 'archived' })),
  receivedAtMs: 20,
  validatedUntilMs: 20,
});

it('finds the event in the ledger of its customer, and leaves the others alone', async () => {
  const account = await openLedger();
  const [a, b] = [
    await customerWith('cus_a', account.database),
    await customerWith('cus_b', account.database),
  ];
  const ledgers = new Map([
    ['cus_a', a.ledger],
    ['cus_b', b.ledger],
  ]);
  const routing = routingVerdicts(account.ledger, account.database, (customer) => ledgers.get(customer)!);
  expect(await routing.applyVerdict(verdictOf([b.event.identifier]))).toEqual({
    kind: 'applied',
    matched: 1,
  });
  expect([await stateOf(a.ledger, a.event), await stateOf(b.ledger, b.event)]).toEqual([
    'accepted',
    'refused',
  ]);
  expect((await account.ledger.backlog()).unmatchedVerdicts).toBe(0);
  expect((await b.ledger.backlog()).unmatchedVerdicts).toBe(0);
});

it('raises the alarm once, at the account, over what no ledger knows', async () => {
  const account = await openLedger();
  const a = await customerWith('cus_a', account.database);
  const routing = routingVerdicts(account.ledger, account.database, () => a.ledger);
  await routing.applyVerdict(verdictOf(['fg_nobodys'], 3));
  expect((await account.ledger.backlog()).unmatchedVerdicts).toBe(3);
  expect((await a.ledger.backlog()).unmatchedVerdicts).toBe(0);
});

it('keeps nothing when a ledger cannot be asked, so that Stripe tells again', async () => {
  const account = await openLedger();
  const a = await customerWith('cus_a', account.database);
  let isDown = true;
  const routing = routingVerdicts(account.ledger, account.database, () => ({
    applyVerdict: (verdict) =>
      isDown ? Promise.reject(new Error('unreachable')) : a.ledger.applyVerdict(verdict),
  }));
  const verdict = verdictOf([a.event.identifier]);
  await expect(routing.applyVerdict(verdict)).rejects.toThrow('unreachable');
  isDown = false;
  expect(await routing.applyVerdict(verdict)).toEqual({ kind: 'applied', matched: 1 });
});

it('marks an answer even where the account cannot be told', async () => {
  const down: Database = { batch: () => Promise.reject(new Error('down')) };
  const { ledger, event, failures } = await customerWith('cus_a', down);
  expect(await stateOf(ledger, event)).toBe('accepted');
  expect(failures).toHaveLength(1);
});

/** A row of an import. */
const row = (customer: string): string =>
  JSON.stringify({
    identifier: `of-${customer}`,
    timestamp: '2026-11-21T11:00:00Z',
    payload_stripe_customer_id: customer,
    payload_value: '5',
    payload_model: 'acme/plain',
    payload_token_type: 'input',
  });

it("takes no record of another customer's, which would be in two ledgers then", async () => {
  const { ledger } = await openLedger();
  const own = importingOnly(ledger, (customer) => customer === 'cus_a');
  const importer = createImporter({
    ledger: own,
    crypto: createNodeCrypto(),
    now: () => Date.UTC(2026, 10, 21, 12),
    layout: 'dimensions',
    names: { eventName: 'meter' },
    costPico: () => null,
    recorded: () => undefined,
  });
  const text = [row('cus_a'), row('cus_b')].join('\n');
  const request = { format: 'jsonl', text, firstLine: 1, dryRun: false } as const;
  const report = await importer(request);
  expect(report).toMatchObject({ imported: 1, errors: [{ line: 2 }] });
  expect(report.errors[0]?.message).toContain('?customer=cus_b');
  expect((await importer({ ...request, dryRun: true })).errors).toHaveLength(1);
  expect((await ledger.unsealed(10)).map(({ customer }) => customer)).toEqual(['cus_a']);
});
