import { describe, expect, it } from 'vitest';
import { createWaiters } from '../../../src/billing/budgets/waiters.ts';
import { callToOpen } from '../../contract/ledger-calls.ts';

const call = (customer: string, keyId: string) => callToOpen({ customer, keyId });

/** A clock that stands still, and timers that go off when they are told to. */
function scene() {
  const timers = new Set<() => void>();
  const waiters = createWaiters({
    now: () => 0,
    after: (_ms, work) => {
      timers.add(work);
      return () => timers.delete(work);
    },
  });
  const room = (customer: string, keyId: string, mark: number) =>
    waiters.room(call(customer, keyId), { mark, untilMs: 2_000 });
  return { waiters, timers, room };
}

describe('waiters', () => {
  it('miss nothing that was freed between their mark and their wait', async () => {
    const { waiters, timers, room } = scene();
    const mark = waiters.mark();
    waiters.freed(call('cus_c', 'k_3'));
    waiters.freed(call('cus_a', 'k_1'));
    waiters.freed(call('cus_b', 'k_2'));
    const rooms = [room('cus_a', 'k_9', mark), room('cus_z', 'k_2', mark)];
    expect(timers.size).toBe(0);
    expect(await Promise.all(rooms)).toEqual([true, true]);
  });

  it('sleep where only others were freed, until one of theirs is or their time is over', async () => {
    const { waiters, timers, room } = scene();
    waiters.freed(call('cus_a', 'k_1'));
    const mark = waiters.mark();
    waiters.freed(call('cus_c', 'k_3'));
    const woken = room('cus_a', 'k_2', mark);
    const late = room('cus_b', 'k_4', mark);
    expect(timers.size).toBe(2);
    waiters.freed(call('cus_a', 'k_1'));
    expect(await woken).toBe(true);
    expect(timers.size).toBe(1);
    for (const ring of timers) ring();
    expect(await late).toBe(false);
  });

  it('try again at once where more was freed since their mark than is remembered', async () => {
    const { waiters, timers, room } = scene();
    const mark = waiters.mark();
    for (let at = 0; at < 1_025; at += 1) waiters.freed(call(`cus_${String(at)}`, 'k_1'));
    const late = room('cus_other', 'k_2', mark);
    expect(timers.size).toBe(0);
    expect(await late).toBe(true);
  });
});
