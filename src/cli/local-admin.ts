/** The admin routes over a database file that no gateway has open. */
import { randomBytes } from 'node:crypto';
import { Hono } from 'hono';
import { createMoneyAdmin } from '../admin/money.ts';
import { createAdmin } from '../admin/admin.ts';
import { createRestoreRoute } from '../admin/books.ts';
import { assembleBooks, assembleRestore } from '../assemble/books.ts';
import { createPrices } from '../billing/prices/prices.ts';
import { createStripeClient } from '../billing/stripe/client.ts';
import type { Settings } from '../config.ts';
import { Refusal, refusalReply } from '../errors.ts';
import { createKeys } from '../keys/create-keys.ts';
import { createLedger } from '../ledger/create-ledger.ts';
import { migrate } from '../ledger/migrations.ts';
import { createNodeCrypto } from '../platform/crypto.ts';
import { createNodeRuntime } from '../platform/node-runtime.ts';
import { openSqlite, type SqliteDatabase } from '../platform/sqlite.ts';
import type { Admin } from './admin.ts';
import { CommandFailure, EXIT } from './command.ts';

export async function openLocalAdmin(settings: Settings, path: string): Promise<Admin> {
  const runtime = createNodeRuntime({ json: false });
  const crypto = createNodeCrypto();
  const database = await opened(path).catch((error: unknown) => {
    throw new CommandFailure(EXIT.problem, `Cannot open the database ${path}: ${errorText(error)}`);
  });
  const token = randomBytes(32).toString('base64url');
  const ledger = createLedger({
    database,
    bootId: runtime.id(),
    billsCosts: settings.billing.layouts.includes('cost'),
  });
  const stripe = createStripeClient({
    // Without a key Stripe says so to whatever needs it.
    secretKey: settings.stripe.secretKey ?? 'unset',
    apiBase: settings.stripe.apiBase ?? undefined,
  });
  // What becomes due is for the next gateway to deliver.
  const { markupMillionths } = settings.billing;
  const prices = createPrices({ overrides: settings.prices, markupMillionths, runtime });
  const books = assembleBooks({
    settings,
    runtime,
    ledger,
    crypto,
    stripe,
    prices,
    settled: () => undefined,
  });
  const app = new Hono().route(
    '/',
    createAdmin({
      ledger,
      more: [...books.routes, createRestoreRoute(assembleRestore({ settings, runtime, ledger, crypto }))],
      money: createMoneyAdmin({ ledger, crypto, runtime }),
      keys: createKeys({ database, crypto, now: runtime.now, serviceKey: settings.serviceKey }),
      crypto,
      now: runtime.now,
      secrets: [token],
      flush: () => {
        throw new CommandFailure(
          EXIT.problem,
          'No gateway is running, so nothing delivers. Start one: faregate start',
        );
      },
    }),
  );
  app.onError((error) => {
    if (!(error instanceof Refusal)) throw error;
    const { status, headers, body } = refusalReply(error, 'openai', `req_${runtime.id()}`);
    return new Response(body, { status, headers });
  });
  return {
    fetch: async (route, init) =>
      app.request(route, {
        ...init,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      }),
    close: () => database.close(),
  };
}

/** With the tables of this program. A file that cannot have them is let go again, with its lock. */
async function opened(path: string): Promise<SqliteDatabase> {
  const database = await openSqlite({ file: path });
  try {
    await migrate(database);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));
