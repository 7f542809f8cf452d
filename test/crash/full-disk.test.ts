import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { CallerEntry } from './books.ts';
import { callOnce } from './callers.ts';
import { compare } from './compare.ts';
import { startGatewayProcess } from './gateway-process.ts';
import { delivered, setScene } from './scene.ts';

const DISK_BYTES = 8 * 1024 * 1024;
/** A file system of one's own takes root on Linux; elsewhere the disk cannot be filled without harm. */
const canMount =
  spawnSync('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs -o size=4096 tmpfs /tmp']).status === 0;

it.skipIf(!canMount)(
  'refuses calls while the disk is full, before the provider is asked, and serves again when there is room',
  async () => {
    const scene = await setScene(31);
    const gateway = startGatewayProcess({ ...scene.place, diskBytes: DISK_BYTES });
    const url = (await gateway.ready) ?? '';
    const ballast = gateway.seen(join(scene.place.directory, 'ballast'));
    const calls: CallerEntry[] = [];
    const call = async (): Promise<CallerEntry> => {
      const entry = await callOnce(url, `t${calls.length}`, 'cus_kill_1');
      calls.push(entry);
      return entry;
    };
    expect((await call()).status).toBe(200);

    expect(() => writeFileSync(ballast, new Uint8Array(DISK_BYTES))).toThrow('ENOSPC');
    // The journal's last page may have room for one call more.
    while ((await call()).status === 200) expect(calls.length).toBeLessThan(50);
    const asked = scene.upstream.served.length;
    expect(await call()).toMatchObject({ status: 503, code: 'ledger_unavailable', complete: false });
    expect(scene.upstream.served.length).toBe(asked);
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);

    rmSync(ballast);
    expect((await call()).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await delivered(url, 20_000)).toBeUndefined();
    const served = calls.filter(({ status }) => status === 200);
    expect(compare(await scene.books(url, served))).toEqual([]);
    gateway.kill('SIGTERM');
    expect((await gateway.ended).code).toBe(0);
    await scene.close();
  },
);
