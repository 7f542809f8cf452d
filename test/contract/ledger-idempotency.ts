/** What a Ledger must do with idempotency keys, on every engine. */
import { expect, it } from 'vitest';
import type { KeyClaim } from '../../src/ledger/idempotency-port.ts';
import type { CallToSettle, Database, Ledger } from '../../src/ledger/ledger.ts';
import { callToOpen, ending, fresh } from './ledger-calls.ts';

type Given = () => { ledger: Ledger; database: Database; customer: string };

const FAILED = {
  outcome: 'upstream_broke',
  status: 503,
  usageSource: 'none',
  lines: [],
  costPico: '0',
} as const;

export function describeIdempotencyKeys(given: Given): void {
  const claim = (
    scope: string,
    call: string,
    more: { bodyHash?: string; nowMs?: number } = {},
  ): Promise<KeyClaim> => {
    const { bodyHash = 'body', nowMs = 100_000 } = more;
    const times = { nowMs, expiredBeforeMs: nowMs - 90_000, unopenedBeforeMs: nowMs - 60_000 };
    return given().ledger.claimKey({ scope, bodyHash, call, ...times });
  };
  /** A key whose call has ended in that way. */
  const ended = async (more: Partial<CallToSettle>): Promise<{ scope: string; id: string }> => {
    const { ledger, customer } = given();
    const call = callToOpen({ customer });
    const scope = fresh('scope');
    await claim(scope, call.id);
    await ledger.admit(call);
    await ledger.settle(ending(call.id, more));
    return { scope, id: call.id };
  };

  it('gives an idempotency key to the first call that wants it, and tells others whose it is', async () => {
    const { ledger, customer } = given();
    const call = callToOpen({ customer });
    const scope = fresh('scope');
    expect(await claim(scope, call.id)).toEqual({ kind: 'claimed' });
    await ledger.admit(call);
    expect(await claim(scope, 'other')).toEqual({ kind: 'running', call: call.id, bodyHash: 'body' });
    await ledger.settle(ending(call.id));
    expect(await claim(scope, 'other', { bodyHash: 'x' })).toEqual({
      kind: 'ended',
      call: call.id,
      bodyHash: 'body',
    });
  });

  it('frees the key of a call that failed and cost nothing, and of no other', async () => {
    const { scope: failed } = await ended(FAILED);
    expect(await claim(failed, 'again', { bodyHash: 'x' })).toEqual({ kind: 'claimed' });
    const { scope: billed } = await ended({ outcome: 'upstream_broke' });
    expect(await claim(billed, 'again')).toMatchObject({ kind: 'ended' });
    const { scope: free } = await ended({ usageSource: 'none', lines: [], costPico: '0' });
    expect(await claim(free, 'again')).toMatchObject({ kind: 'ended' });
    const { scope: pictures } = await ended({ ...FAILED, costPico: '7' });
    expect(await claim(pictures, 'again')).toMatchObject({ kind: 'ended' });
  });

  it('frees a key whose call was never opened when it is given back, or after its time', async () => {
    const { ledger } = given();
    const scope = fresh('scope');
    await claim(scope, 'one');
    expect(await claim(scope, 'two')).toMatchObject({ kind: 'running', call: 'one' });
    await ledger.releaseKey(scope, 'two');
    expect(await claim(scope, 'two')).toMatchObject({ kind: 'running', call: 'one' });
    await ledger.releaseKey(scope, 'one');
    expect(await claim(scope, 'two')).toEqual({ kind: 'claimed' });
    expect(await claim(scope, 'three', { nowMs: 161_000 })).toEqual({ kind: 'claimed' });
  });

  it('forgets a key when its day is over', async () => {
    const { scope } = await ended({});
    expect(await claim(scope, 'again', { nowMs: 189_000 })).toMatchObject({ kind: 'ended' });
    expect(await claim(scope, 'again', { nowMs: 191_000 })).toEqual({ kind: 'claimed' });
  });

  it('gives back no key whose call was opened', async () => {
    const { scope, id } = await ended({});
    await given().ledger.releaseKey(scope, id);
    expect(await claim(scope, 'again')).toMatchObject({ kind: 'ended', call: id });
  });
}
