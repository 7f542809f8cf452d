/** Which calls a report of usage reads: those of its period, however many were made since. */
import { describe, expect, it } from 'vitest';
import { firstCallIdAt } from '../../../src/billing/reads/call-ids.ts';
import { createUsageReports } from '../../../src/billing/reads/usage-report.ts';
import type { CallUsage } from '../../../src/ledger/usage-port.ts';
import { createIds } from '../../../src/platform/ids.ts';

const DAY_MS = 86_400_000;
const START = Date.UTC(2026, 5, 1);

/** So many calls a day, each of one token, on `days` days; and how many of them were read. */
function ledgerOf(perDay: number, days: number) {
  let clock = START;
  const id = createIds(() => clock);
  const all: CallUsage[] = [];
  for (let day = 0; day < days; day += 1)
    for (let call = 0; call < perDay; call += 1) {
      clock = START + day * DAY_MS + Math.floor((call * DAY_MS) / perDay);
      const lines = [{ attempt: 1, model: 'demo/m', tokenType: 'input', tokens: 1 }];
      const times = { openedAtMs: clock, endedAtMs: clock + 1 };
      all.push({ id: `req_${id()}`, keyId: 'key', model: 'demo/m', ...times, costPico: '1', lines });
    }
  const newest = all.toReversed();
  let read = 0;
  const reports = createUsageReports(
    {
      callUsage({ cursor = '~', limit }) {
        const from = newest.findIndex((call) => call.id < cursor);
        const slice = from < 0 ? [] : newest.slice(from, from + limit);
        read += slice.length;
        return Promise.resolve(slice);
      },
      undelivered: () => Promise.reject(new Error('It is not asked for.')),
    },
    () => clock,
  );
  const report = (fromDay: number, toDay: number) =>
    reports({
      customer: 'cus_1',
      fromMs: START + fromDay * DAY_MS,
      toMs: START + toDay * DAY_MS,
      by: ['model'],
    });
  return { report, read: () => read };
}

describe('a report of usage', () => {
  it('reads a period in the past, although more calls than it may read were made since', async () => {
    const { report, read } = ledgerOf(10_000, 30);
    expect(await report(2, 4)).toMatchObject({ calls: 20_000, inputTokens: 20_000n });
    expect(read()).toBeLessThan(60_000);
    await expect(report(0, 30)).rejects.toThrow(/in that time: ask for a shorter one/);
  });

  it('is read anew after the clock was set back', async () => {
    let clock = START;
    let read = 0;
    const reports = createUsageReports(
      {
        callUsage: () => Promise.resolve(((read += 1), [])),
        undelivered: () => Promise.reject(new Error('It is not asked for.')),
      },
      () => clock,
    );
    const query = { customer: 'cus_1', fromMs: START - DAY_MS, toMs: START + DAY_MS, by: ['model'] } as const;
    await reports(query);
    await reports(query);
    expect(read).toBe(1);
    clock -= DAY_MS;
    await reports(query);
    expect(read).toBe(2);
  });

  it('counts a call of no tokens, as of a picture, where its cost is told', async () => {
    const times = { openedAtMs: START, endedAtMs: START };
    const picture = { id: 'req_1', keyId: 'key', model: 'demo/picture', ...times, costPico: '40', lines: [] };
    const reports = createUsageReports(
      {
        callUsage: () => Promise.resolve([picture]),
        undelivered: () => Promise.reject(new Error('It is not asked for.')),
      },
      () => START,
    );
    const report = await reports({ customer: 'cus_1', fromMs: START, toMs: START + 1, by: ['model'] });
    expect(report).toMatchObject({
      calls: 1,
      groups: [{ at: { model: 'demo/picture' }, tokens: 0n, calls: 1, costPico: 40n }],
    });
  });

  it('finds a call by when it was made', () => {
    const id = `req_${createIds(() => START)()}`;
    expect(firstCallIdAt(START) < id && id < firstCallIdAt(START + 1)).toBe(true);
  });
});
