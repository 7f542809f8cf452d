import { describe, expect, it } from 'vitest';
import { createAccountMemory } from '../../../src/billing/budgets/account-memory.ts';

const of = (customer: string, keyId: string) => ({ customer, keyId });

describe('the memory of accounts', () => {
  it('tells who has none from who is not remembered, for each key apart', () => {
    const memory = createAccountMemory<string>(10);
    memory.keep(of('cus_a', 'k_1'), 'rich');
    memory.keep(of('cus_a', 'k_2'), null);
    expect(memory.find(of('cus_a', 'k_1'))).toBe('rich');
    expect(memory.find(of('cus_a', 'k_2'))).toBeNull();
    expect(memory.find(of('cus_a', 'k_3'))).toBeUndefined();
    expect(memory.find(of('cus_b', 'k_1'))).toBeUndefined();
    memory.keep(of('cus_a', 'k_1'), 'poor');
    expect(memory.find(of('cus_a', 'k_1'))).toBe('poor');
    memory.forget(of('cus_a', 'k_2'));
    expect(memory.find(of('cus_a', 'k_2'))).toBeUndefined();
    expect(memory.find(of('cus_a', 'k_1'))).toBe('poor');
    memory.forget(of('cus_a', 'k_1'));
    memory.forget(of('cus_a', 'k_1'));
    expect(memory.find(of('cus_a', 'k_1'))).toBeUndefined();
  });

  it('is bounded, and of many keys that are used in turn forgets none before its time', () => {
    const memory = createAccountMemory<number>(20);
    const keys = Array.from({ length: 21 }, (_, key) => of('cus_a', `k_${String(key)}`));
    for (const [at, key] of keys.entries()) memory.keep(key, at);
    expect(keys.map((key) => memory.find(key))).toEqual(keys.map((_, at) => at));
    memory.keep(of('cus_a', 'k_21'), 21);
    expect(memory.find(of('cus_a', 'k_1'))).toBeUndefined();
    expect(memory.find(of('cus_a', 'k_2'))).toBe(2);
    for (let customer = 0; customer < 20; customer += 1)
      memory.keep(of(`cus_b${String(customer)}`, 'k_1'), 1);
    expect(memory.find(of('cus_a', 'k_0'))).toBeUndefined();
    expect(memory.find(of('cus_b0', 'k_1'))).toBe(1);
  });
});
