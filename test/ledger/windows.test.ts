import { describe, expect, it } from 'vitest';
import { windowOf } from '../../src/ledger/windows.ts';

const at = (text: string): number => Date.parse(text);
const window = (span: Parameters<typeof windowOf>[0], text: string, period: string[] = []) => {
  const [start, end] = period;
  const { startMs, endMs } = windowOf(
    span,
    at(text),
    start === undefined || end === undefined ? null : { startMs: at(start), endMs: at(end) },
  );
  return [new Date(startMs).toISOString(), endMs === null ? null : new Date(endMs).toISOString()];
};

describe("a budget's window", () => {
  it('is the UTC day, whatever the clocks of Berlin do in that night', () => {
    expect(window('day', '2026-03-29T01:30:00Z')).toEqual([
      '2026-03-29T00:00:00.000Z',
      '2026-03-30T00:00:00.000Z',
    ]);
    expect(window('day', '2026-10-25T23:59:59.999Z')).toEqual([
      '2026-10-25T00:00:00.000Z',
      '2026-10-26T00:00:00.000Z',
    ]);
  });

  it.each(['2026-11-16T00:00:00Z', '2026-11-19T12:00:00Z', '2026-11-22T23:59:59.999Z'])(
    'is the week from Monday for %s',
    (text) => {
      expect(window('week', text)).toEqual(['2026-11-16T00:00:00.000Z', '2026-11-23T00:00:00.000Z']);
    },
  );

  it('is the calendar month, of 28 days or of 31', () => {
    expect(window('month', '2026-02-28T23:59:59Z')).toEqual([
      '2026-02-01T00:00:00.000Z',
      '2026-03-01T00:00:00.000Z',
    ]);
    expect(window('month', '2026-12-31T23:59:59Z')).toEqual([
      '2026-12-01T00:00:00.000Z',
      '2027-01-01T00:00:00.000Z',
    ]);
  });

  it.each([
    ['2028-02-29T23:59:59.999Z', '2028-02-01T00:00:00.000Z', '2028-03-01T00:00:00.000Z'],
    ['2100-02-28T23:59:59.999Z', '2100-02-01T00:00:00.000Z', '2100-03-01T00:00:00.000Z'],
    ['2026-01-31T23:59:59.999Z', '2026-01-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z'],
    ['2026-02-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z', '2026-03-01T00:00:00.000Z'],
  ])('is the month to its last millisecond, in leap years too: %s', (text, start, end) => {
    expect(window('month', text)).toEqual([start, end]);
  });

  it('has the leap day as a day of its own', () => {
    expect(window('day', '2028-02-29T00:00:00Z')).toEqual([
      '2028-02-29T00:00:00.000Z',
      '2028-03-01T00:00:00.000Z',
    ]);
  });

  it.each(['America/New_York', 'Asia/Kolkata', 'Pacific/Kiritimati', 'Australia/Lord_Howe'])(
    'is the same on a machine that is set to %s, at every hour of its clock changes',
    (zone) => {
      const own = process.env['TZ'];
      process.env['TZ'] = zone;
      try {
        expect(new Date(at('2026-07-01T00:00:00Z')).getTimezoneOffset()).not.toBe(0);
        // A year's hours: both changes of the clock are among them.
        for (let hour = at('2026-01-01T00:30:00Z'); hour < at('2027-01-01T00:00:00Z'); hour += 3_600_000) {
          const text = new Date(hour).toISOString();
          expect(window('day', text)[0]).toBe(`${text.slice(0, 10)}T00:00:00.000Z`);
          expect(window('month', text)[0]).toBe(`${text.slice(0, 7)}-01T00:00:00.000Z`);
        }
      } finally {
        if (own === undefined) delete process.env['TZ'];
        else process.env['TZ'] = own;
      }
    },
  );

  it.each(['day', 'week', 'month'] as const)('follows on the last %s without gap or overlap', (span) => {
    let { startMs, endMs } = windowOf(span, at('2027-12-15T00:00:00Z'), null);
    while (startMs < at('2029-01-01T00:00:00Z')) {
      expect(windowOf(span, (endMs ?? 0) - 1, null).startMs).toBe(startMs);
      const next = windowOf(span, endMs ?? 0, null);
      expect(next.startMs).toBe(endMs);
      ({ startMs, endMs } = next);
    }
  });

  it("is the subscription's period, to the second", () => {
    const period = ['2026-01-31T10:11:12Z', '2026-02-28T10:11:12Z'];
    expect(window('period', '2026-02-28T10:11:11Z', period)[0]).toBe('2026-01-31T10:11:12.000Z');
  });

  it('begins anew when the period is over, before Stripe says so', () => {
    const period = ['2026-01-31T10:11:12Z', '2026-02-28T10:11:12Z'];
    expect(window('period', '2026-02-28T10:11:12Z', period)[0]).toBe('2026-02-28T10:11:12.000Z');
  });

  it('begins anew as often as that is over in its turn, where Stripe says nothing more', () => {
    const period = ['2026-01-01T00:00:00Z', '2026-01-31T00:00:00Z'];
    expect(window('period', '2026-05-30T23:59:59.999Z', period)).toEqual([
      '2026-05-01T00:00:00.000Z',
      '2026-05-31T00:00:00.000Z',
    ]);
    expect(window('period', '2026-05-31T00:00:00Z', period)[0]).toBe('2026-05-31T00:00:00.000Z');
  });

  it('has no next where it has no length', () => {
    const period = ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'];
    expect(window('period', '2026-05-30T00:00:00Z', period)[0]).toBe('2026-01-01T00:00:00.000Z');
  });

  it('is the calendar month for a customer without a subscription', () => {
    expect(window('period', '2026-11-21T00:00:00Z')[0]).toBe('2026-11-01T00:00:00.000Z');
  });

  it('is everything for a total, which has no end', () => {
    expect(window('total', '2026-11-21T00:00:00Z')).toEqual(['1970-01-01T00:00:00.000Z', null]);
  });
});
