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
    memory.forget(of('cus_a', 'k_1'));
    expect(memory.find(of('cus_a', 'k_1'))).toBeUndefined();
    expect(memory.find(of('cus_a', 'k_2'))).toBeNull();
    memory.forget(of('cus_a', 'k_2'));
    memory.forget(of('cus_a', 'k_2'));
    expect(memory.find(of('cus_a', 'k_2'))).toBeUndefined();
  });

  it('is bounded, by customers and by the keys of each', () => {
    const memory = createAccountMemory<number>(2);
    for (let key = 0; key < 20; key += 1) memory.keep(of('cus_a', `k_${String(key)}`), key);
    const keys = Array.from({ length: 20 }, (_, key) => memory.find(of('cus_a', `k_${String(key)}`)));
    expect(keys.filter((known) => known !== undefined)).toEqual([12, 13, 14, 15, 16, 17, 18, 19]);
    memory.keep(of('cus_b', 'k_1'), 1);
    memory.keep(of('cus_c', 'k_1'), 1);
    expect(memory.find(of('cus_a', 'k_19'))).toBeUndefined();
    expect(memory.find(of('cus_c', 'k_1'))).toBe(1);
  });
});
