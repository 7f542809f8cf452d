/** What a crash proof plays on: an upstream and a Stripe that outlive the gateway, a place for its ledger, the books. */
import { rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { violations } from '../../src/ledger/invariants.ts';
import { openSqlite } from '../../src/platform/sqlite.ts';
import { createStripeSimulator, type StripeSimulator } from '../../src/simulator/stripe.ts';
import { temporaryDirectory } from '../support/sqlite.ts';
import type { Books, CallerEntry, LedgerEntry } from './books.ts';
import { admin, databaseFile, type GatewayPlace } from './gateway-process.ts';
import { type CountingUpstream, startCountingUpstream } from './upstream.ts';

export interface Scene {
  readonly place: GatewayPlace;
  readonly upstream: CountingUpstream;
  readonly stripe: StripeSimulator;
  readonly customers: readonly string[];
  /** The four books, the ledger's read from a gateway that runs. */
  books(url: string, callers: readonly CallerEntry[]): Promise<Books>;
  /** What breaks the ledger's invariants in the file that a gateway left behind. */
  violations(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export async function setScene(seed: number): Promise<Scene> {
  const directory = temporaryDirectory();
  const upstream = await startCountingUpstream(seed);
  const stripe = createStripeSimulator({ now: Date.now, webhookSecret: 'whsec_crash' });
  await stripe.listen(0);
  stripe.addMeter('token-billing-tokens');
  for (const customer of CUSTOMERS) stripe.addCustomer(customer);
  const place = { directory, upstreamUrl: upstream.url, stripeUrl: stripe.url };
  return {
    place,
    upstream,
    stripe,
    customers: CUSTOMERS,
    async books(url, callers) {
      const pages = await Promise.all(CUSTOMERS.map((customer) => callsOf(url, customer)));
      return { callers, upstream: upstream.served, ledger: pages.flat(), stripe: stripeBook(stripe) };
    },
    async violations() {
      const database = await openSqlite({ file: databaseFile(place) });
      const found = await violations(database);
      await database.close();
      return found.map((violation) => JSON.stringify(violation));
    },
    async close() {
      await Promise.all([upstream.close(), stripe.close()]);
      rmSync(directory, { recursive: true });
    },
  };
}

const CUSTOMERS = ['cus_kill_1', 'cus_kill_2', 'cus_kill_3', 'cus_kill_4', 'cus_kill_5'];

async function callsOf(url: string, customer: string): Promise<LedgerEntry[]> {
  const calls: LedgerEntry[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const from: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page = (await admin(url, `/calls?customer=${customer}&limit=500${from}`)) as {
      data: LedgerEntry[];
      next_cursor: string | null;
    };
    calls.push(...page.data);
    cursor = page.next_cursor;
  }
  return calls;
}

const stripeBook = (stripe: StripeSimulator): Books['stripe'] =>
  stripe.sums().map(({ customer, dimensions, value }) => ({
    customer,
    model: dimensions['model'] ?? '',
    tokenType: dimensions['token_type'] ?? '',
    tokens: value,
  }));

interface Totals {
  readonly open_calls: number;
  readonly unsealed_lines: number;
  readonly events: readonly { readonly state: string; readonly count: number }[];
}

/** Waits until nothing is open and Stripe has accepted every event; answers what still waits after `msMax`. */
export async function delivered(url: string, msMax: number): Promise<string | undefined> {
  const deadline = performance.now() + msMax;
  for (;;) {
    const totals = (await admin(url, '/totals')) as Totals;
    const waiting = totals.events.filter(({ state }) => state !== 'accepted');
    if (totals.open_calls === 0 && totals.unsealed_lines === 0 && waiting.length === 0) return undefined;
    if (performance.now() > deadline)
      return `Not delivered in ${msMax} ms: ${totals.open_calls} open, ${totals.unsealed_lines} unsealed, ${JSON.stringify(waiting)}`;
    await pause(250);
  }
}
