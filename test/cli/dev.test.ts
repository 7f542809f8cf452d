import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDev } from '../../src/cli/dev.ts';
import { settingsFor } from '../../src/config.ts';
import { ADMIN_KEY } from '../support/gateway.ts';
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

  it('knows the credit of its customer before his first call', async () => {
    const { url, key } = await listening.promise;
    const reply = await fetch(`${url}/v1/credits`, { headers: { authorization: `Bearer ${key}` } });
    expect(await reply.json()).toMatchObject({ data: { customer: 'cus_demo', available_usd: '5.00' } });
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

it('gives usage of the sandbox to no place of the configuration but those on this machine', async () => {
  const directory = temporaryDirectory();
  const taken = Promise.withResolvers<string>();
  const place = createServer((request, response) => {
    response.end();
    taken.resolve(request.url ?? '');
  });
  await new Promise<void>((resolve) => place.listen(0, '127.0.0.1', resolve));
  const port = (place.address() as AddressInfo).port;
  // The second is in a block of addresses that leads nowhere (RFC 5737).
  const file = {
    billing: {
      sinks: {
        here: { type: 'cloudevents', url: `http://127.0.0.1:${port}/here` },
        there: { type: 'cloudevents', url: 'http://192.0.2.1/there' },
        vendor: { type: 'metronome', secret: '${METRONOME}' },
      },
    },
    notify: { url: 'http://192.0.2.1/', secret: '${NOTIFY}' },
  };
  const result = settingsFor('dev', {
    env: {
      PORT: '0',
      DATABASE_URL: `sqlite:${join(directory, 'ledger.db')}`,
      FAREGATE_ADMIN_KEY: ADMIN_KEY,
      METRONOME: 'live',
      NOTIFY: `whsec_${'A'.repeat(32)}`,
    },
    readFile: () => JSON.stringify(file),
  });
  if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
  const stop = Promise.withResolvers<string>();
  const listening = Promise.withResolvers<{ url: string; key: string }>();
  const lines: { event: string; places?: string; url: string; key: string }[] = [];
  const write = (text: string): void => {
    const line = JSON.parse(text) as (typeof lines)[number];
    lines.push(line);
    if (line.event === 'listening') listening.resolve(line);
  };
  const { settings } = result;
  const ended = runDev({ settings, json: true, stopped: stop.promise, simulatorPort: 0, write });
  await Promise.race([listening.promise, ended]);
  const { url, key } = await listening.promise;
  const reply = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify({ model: 'demo/echo', messages: [{ role: 'user', content: 'hi' }] }),
  });
  expect(reply.status).toBe(200);
  expect(await taken.promise).toBe('/here');
  const events = await fetch(`${url}/admin/v1/events`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
  const { data } = (await events.json()) as { data: { destination: string }[] };
  expect(new Set(data.map(({ destination }) => destination))).toEqual(new Set(['dimensions', 'sink:here']));
  expect(lines.find(({ event }) => event === 'off_in_the_sandbox')?.places).toBe(
    'billing.sinks.there, billing.sinks.vendor, notify.url',
  );
  stop.resolve('SIGTERM');
  await ended;
  place.close();
  rmSync(directory, { recursive: true });
});
