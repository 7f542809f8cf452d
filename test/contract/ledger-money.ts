/** A ledger's cases about money: the statements that every engine must understand alike. The rest is in test/ledger/. */
import { expect, it } from 'vitest';
import type { Guard } from '../../src/ledger/accounts-port.ts';
import { callToOpen, ending } from './ledger-calls.ts';
import type { Given } from './ledger-world.ts';

/** Past 2^53: picodollars that a float would round. */
const AMOUNT = 9_007_199_254_740_993n;

export function describeMoney(given: Given): void {
  it('opens guarded calls to the last picodollar and burns grants in their order', async () => {
    const { ledger, customer } = given();
    const grant = {
      name: null,
      priority: 50,
      applies: true,
      effectiveAtMs: 0,
      createdAtMs: 0,
      voidedAtMs: null,
    };
    const amount = { amountPico: String(AMOUNT), balancePico: String(AMOUNT) };
    await ledger.recordGrants({
      customer,
      readAtMs: 1,
      grants: [
        { ...grant, ...amount, id: `${customer}_paid`, category: 'paid', expiresAtMs: null },
        { ...grant, ...amount, id: `${customer}_gift`, category: 'promotional', expiresAtMs: 9_000_000 },
      ],
    });
    await ledger.putBudget(
      {
        id: `${customer}_day`,
        scope: 'customer',
        subject: customer,
        span: 'day',
        limitPico: String(3n * AMOUNT),
      },
      1,
    );
    const account = await ledger.account(customer);
    const guard = (holdPico: bigint): Guard => ({
      nowMs: 1_000,
      version: account?.version ?? 0,
      period: null,
      holdPico: String(holdPico),
      fitPico: String(holdPico),
      creditChecked: true,
      gracePico: '0',
      observe: false,
    });
    const call = callToOpen({ customer });
    expect(await ledger.admit(callToOpen({ customer }))).toMatchObject({ kind: 'guarded' });
    expect(await ledger.admit(callToOpen({ customer }), guard(2n * AMOUNT + 1n))).toMatchObject({
      kind: 'short',
    });
    expect(await ledger.admit(call, guard(2n * AMOUNT))).toMatchObject({ kind: 'admitted' });
    await ledger.settle(ending(call.id, { costPico: String(AMOUNT + 1n) }));
    const { grants, ...balance } = await ledger.balance(customer, 2_000);
    expect(grants.map(({ burnedPico }) => burnedPico)).toEqual([String(AMOUNT), '1']);
    expect(balance).toMatchObject({ availablePico: String(AMOUNT - 1n), heldPico: '0' });
    expect(await ledger.budgets(customer, 2_000)).toMatchObject([{ spentPico: String(AMOUNT + 1n) }]);
  });

  it.each([
    ['an alert', { kind: 'alert_triggered', alert: 'alrt_1', title: '' } as const, 'blocked'],
    ['a deletion', { kind: 'deleted' } as const, 'missing'],
    ['a look-up', undefined, 'missing'],
  ])(
    'opens nothing by an account that was told before %s blocked its customer',
    async (_what, fact, kind) => {
      const { ledger, customer } = given();
      await ledger.changeAccount(customer, { mode: 'standard' }, 1);
      const told = await ledger.admit(callToOpen({ customer }));
      expect(told.kind).toBe('guarded');
      const guard: Guard = {
        nowMs: 1_000,
        version: told.kind === 'guarded' ? (told.account?.version ?? 0) : 0,
        hasBudgets: false,
        period: null,
        holdPico: '1',
        fitPico: '1',
        creditChecked: false,
        gracePico: '0',
        observe: false,
      };
      expect(await ledger.admit(callToOpen({ customer }), guard)).toMatchObject({ kind: 'admitted' });
      if (fact === undefined) await ledger.rememberCustomer(customer, 'missing', 2);
      else
        await ledger.apply({ eventId: `evt_${customer}`, type: 'test', createdS: 1, receivedAtMs: 1 }, [
          { ...fact, customer },
        ]);
      for (const hasBudgets of [false, true])
        expect(await ledger.admit(callToOpen({ customer }), { ...guard, hasBudgets })).toMatchObject({
          kind,
        });
    },
  );
}
