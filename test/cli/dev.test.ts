import { rmSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDev } from '../../src/cli/dev.ts';
import { settingsFor } from '../../src/config.ts';
import { temporaryDirectory } from '../support/sqlite.ts';

const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
const HOSTS = ['127.0.0.1', '::1'].filter((host) => addresses.some(({ address }) => address === host));

describe.each(HOSTS)('faregate dev at %s, with a port that the system chooses', (host) => {
  const directory = temporaryDirectory();
  const stop = Promise.withResolvers<string>();
  const listening = Promise.withResolvers<{ url: string; key: string }>();
  let ended: Promise<void>;
  beforeAll(async () => {
    const env = { HOST: host, PORT: '0', DATABASE_URL: `sqlite:${join(directory, 'ledger.db')}` };
    const result = settingsFor('dev', { env, readFile: () => undefined });
    if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
    const write = (text: string): void => {
      const line = JSON.parse(text) as { event: string; url: string; key: string };
      if (line.event === 'listening') listening.resolve(line);
    };
    const { settings } = result;
    ended = runDev({ settings, json: true, stopped: stop.promise, simulatorPort: 0, write });
    await Promise.race([listening.promise, ended]);
  });
  afterAll(async () => {
    stop.resolve('SIGTERM');
    await ended;
    rmSync(directory, { recursive: true });
  });

  it('refuses with a link that leads back to it', async () => {
    const { url, key } = await listening.promise;
    const reply = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'demo/echo',
        max_tokens: 1_000_000_000,
        messages: [{ role: 'user', content: 'hi' }],
      }),
    });
    expect(reply.status).toBe(402);
    const { error } = (await reply.json()) as { error: { metadata: { top_up_url: string } } };
    const link = error.metadata.top_up_url;
    expect(link.startsWith(`${url}/top-up/cus_demo.`), link).toBe(true);
    const opened = await fetch(link, { redirect: 'manual' });
    expect(opened.status).toBe(303);
  });
});
