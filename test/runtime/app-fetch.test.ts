import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { assemble } from '../../src/assemble/assemble.ts';
import { createStripeClient } from '../../src/billing/stripe/client.ts';
import { createKeys } from '../../src/keys/create-keys.ts';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import { migrate } from '../../src/ledger/migrations.ts';
import { createNodeCrypto } from '../../src/platform/crypto.ts';
import { createFetchCaller } from '../../src/platform/fetch-caller.ts';
import { createFlushLoop } from '../../src/platform/flush-loop.ts';
import { createNodeRuntime } from '../../src/platform/node-runtime.ts';
import { openSqlite } from '../../src/platform/sqlite.ts';
import { createUndiciRelay } from '../../src/platform/undici-relay.ts';
import { httpPost } from '../../src/platform/http-post.ts';
import { describeHttpCases } from '../contract/http-cases.ts';
import { settingsOf } from '../support/settings.ts';
import { temporaryDirectory } from '../support/sqlite.ts';

describeHttpCases('app.fetch', async (env, yaml) => {
  const directory = temporaryDirectory();
  const settings = settingsOf(env, yaml);
  const runtime = createNodeRuntime({ json: true, write: () => undefined });
  const crypto = createNodeCrypto();
  const database = await openSqlite({ file: join(directory, 'ledger.db') });
  await migrate(database);
  const relay = createUndiciRelay();
  const gateway = assemble({
    settings,
    runtime,
    crypto,
    ledger: createLedger({ database, bootId: 'boot-1' }),
    keys: createKeys({ database, crypto, now: runtime.now, serviceKey: settings.serviceKey }),
    relay,
    post: httpPost,
    stripe: createStripeClient({
      secretKey: settings.stripe.secretKey ?? '',
      apiBase: settings.stripe.apiBase ?? undefined,
    }),
    serve(context, work) {
      const { caller, response } = createFetchCaller(context.req.raw);
      runtime.defer(work(caller));
      return response;
    },
    adminSecrets: [settings.adminKey ?? ''],
    settled: () => loop.wake(),
  });
  const loop = createFlushLoop(
    async () => {
      const look = await gateway.background.poll();
      return Math.min((await gateway.delivery.flush()).next ?? Infinity, look ?? Infinity);
    },
    (error) => {
      throw error;
    },
  );
  return {
    fetch: async (path, init) => gateway.app.fetch(new Request(`http://gateway.test${path}`, init)),
    async close() {
      await loop.stop();
      await relay.close();
      await database.close();
      rmSync(directory, { recursive: true });
    },
  };
});
