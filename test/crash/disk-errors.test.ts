import { expect, it } from 'vitest';
import type { CallerEntry } from './books.ts';
import { callOnce } from './callers.ts';
import { compare } from './compare.ts';
import { hasStrace, startGatewayProcess } from './gateway-process.ts';
import { delivered, setScene } from './scene.ts';

const DELIVERED_MS_MAX = 60_000;

/** From the n-th write of a life on, every one fails in this way. */
const ERRORS = ['EIO', 'ENOSPC', 'EROFS'];

it.skipIf(!hasStrace()).each(ERRORS)(
  'serves nothing unrecorded when the disk answers %s, and has lost nothing when it is well again',
  async (error) => {
    const scene = await setScene(47);
    const calls: CallerEntry[] = [];
    const first = startGatewayProcess(scene.place);
    calls.push(await callOnce((await first.ready) ?? '', 't0', 'cus_kill_1'));
    first.kill('SIGKILL');
    await first.ended;

    // A start takes few writes of a database that is there; the errors begin while calls are made.
    const failing = startGatewayProcess({ ...scene.place, injects: `error=${error}:when=12+` });
    const url = (await failing.ready) ?? '';
    const refused: CallerEntry[] = [];
    while (refused.length < 3) {
      const call = await callOnce(url, `t${calls.length + refused.length}`, 'cus_kill_1');
      (call.status === 200 ? calls : refused).push(call);
      expect(calls.length).toBeLessThan(50);
    }
    for (const call of refused)
      expect(call).toMatchObject({ status: 503, code: 'ledger_unavailable', complete: false });
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    failing.kill('SIGKILL');
    await failing.ended;

    const last = startGatewayProcess(scene.place);
    const well = (await last.ready) ?? '';
    calls.push(await callOnce(well, 't-last', 'cus_kill_1'));
    expect(await delivered(well, DELIVERED_MS_MAX)).toBeUndefined();
    expect(compare(await scene.books(well, calls))).toEqual([]);
    last.kill('SIGTERM');
    expect((await last.ended).code).toBe(0);
    expect(await scene.violations()).toEqual([]);
    await scene.close();
  },
  120_000,
);
