import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createPrices, TOKEN_CLASSES } from '../../../src/billing/prices/prices.ts';
import type { PricesOptions } from '../../../src/billing/prices/prices.ts';
import { inputTokens, ZERO_TOKENS } from '../../../src/usage/usage.ts';
import type { TokenCounts } from '../../../src/usage/usage.ts';
import { createTestRuntime } from '../support.ts';

const pricesWith = (more: Partial<PricesOptions> = {}) =>
  createPrices({ runtime: createTestRuntime(), ...more });
const counts = (more: Partial<TokenCounts>): TokenCounts => ({ ...ZERO_TOKENS, ...more });

const anyCounts = fc.record(
  Object.fromEntries(TOKEN_CLASSES.map((name) => [name, fc.integer({ min: 0, max: 400_000 })])),
) as unknown as fc.Arbitrary<TokenCounts>;

describe('prices', () => {
  it('come from the catalogue in whole picodollars per token', () => {
    const rates = pricesWith().priceOf('openai/gpt-4o-mini')?.[0].rates;
    expect(rates).toMatchObject({
      uncachedInput: 150_000n,
      cacheRead: 75_000n,
      textOutput: 600_000n,
      reasoning: 600_000n,
    });
  });

  it('are known under the billed names of Claude models', () => {
    const rates = pricesWith().priceOf('anthropic/claude-sonnet-4.5')?.[0].rates;
    expect(rates).toMatchObject({
      uncachedInput: 3_000_000n,
      cacheWrite: 3_750_000n,
      cacheWrite1h: 6_000_000n,
    });
  });

  it('rise for the whole call when the prompt is longer than a tier begins', () => {
    const prices = pricesWith();
    const at = (uncachedInput: number) =>
      prices.costPico(counts({ uncachedInput, textOutput: 1 }), 'anthropic/claude-sonnet-4.5');
    expect(at(200_000)).toBe(200_000n * 3_000_000n + 15_000_000n);
    expect(at(200_001)).toBe(200_001n * 6_000_000n + 22_500_000n);
  });

  it('are the exact sum of their classes', () => {
    const prices = pricesWith({ markupMillionths: 1_234_567n });
    fc.assert(
      fc.property(
        anyCounts,
        fc.constantFrom('openai/gpt-4o', 'anthropic/claude-sonnet-4.5', 'google/gemini-2.5-pro'),
        (all, model) => {
          const tiers = prices.priceOf(model);
          const rates =
            tiers?.findLast((tier) => inputTokens(all) > tier.aboveInputTokens)?.rates ?? tiers?.[0].rates;
          const sum = TOKEN_CLASSES.reduce(
            (total, name) => total + BigInt(all[name]) * (rates?.[name] ?? 0n),
            0n,
          );
          expect(prices.costPico(all, model)).toBe(sum);
        },
      ),
    );
  });

  it('are the same for a usage split in two, below the first tier', () => {
    const prices = pricesWith({ markupMillionths: 1_050_000n });
    const cost = (tokens: number) =>
      prices.costPico(counts({ uncachedInput: tokens }), 'openai/gpt-4o-mini') ?? 0n;
    fc.assert(
      fc.property(fc.nat(50_000), fc.nat(50_000), (a, b) => {
        expect(cost(a) + cost(b)).toBe(cost(a + b));
      }),
    );
  });
});

describe('configured prices', () => {
  it('take the part that an override gives and leave the rest to the catalogue', () => {
    const prices = pricesWith({
      overrides: new Map([['openai/gpt-4o-mini', { input: 1n, cacheWrite: 0n }]]),
    });
    expect(prices.priceOf('openai/gpt-4o-mini')?.[0].rates).toMatchObject({
      uncachedInput: 1n,
      cacheRead: 75_000n,
      cacheWrite: 0n,
      textOutput: 600_000n,
    });
  });

  it('can be given for a model the catalogue does not know', () => {
    const prices = pricesWith({
      overrides: new Map([['demo/echo', { input: 1_000_000n, output: 2_000_000n }]]),
    });
    expect(prices.costPico(counts({ uncachedInput: 3, cacheRead: 1, reasoning: 1 }), 'demo/echo')).toBe(
      6_000_000n,
    );
  });

  it('are multiplied by the markup and rounded once, half up', () => {
    const prices = pricesWith({
      markupMillionths: 1_500_000n,
      overrides: new Map([['demo/echo', { input: 1n, output: 3n }]]),
    });
    expect(prices.priceOf('demo/echo')?.[0].rates).toMatchObject({ uncachedInput: 2n, textOutput: 5n });
    expect(prices.priceOf('openai/gpt-4o-mini')?.[0].rates.uncachedInput).toBe(225_000n);
  });
});

describe('prices nobody has', () => {
  it.each([
    'openai/no-such-model',
    'my-openai/gpt-4o-mini',
    'demo/echo',
    'gpt-4o-mini',
    '',
    '/',
    'constructor/x',
  ])('are null for %s', (model) => {
    const prices = pricesWith();
    expect(prices.priceOf(model)).toBeNull();
    expect(prices.costPico(counts({ uncachedInput: 1 }), model)).toBeNull();
  });

  it('are null for a class without a price, and only if it was used', () => {
    const prices = pricesWith({ overrides: new Map([['demo/echo', { input: 5n }]]) });
    expect(prices.costPico(counts({ uncachedInput: 1 }), 'demo/echo')).toBe(5n);
    expect(prices.costPico(counts({ uncachedInput: 1, textOutput: 1 }), 'demo/echo')).toBeNull();
  });
});

describe('catalogue prices', () => {
  it('follow a vendor under another configured name', () => {
    const prices = pricesWith({ vendorOf: (name) => (name === 'eu' ? 'openai' : null) });
    expect(prices.priceOf('eu/gpt-4o-mini')?.[0].rates.uncachedInput).toBe(150_000n);
    expect(prices.priceOf('openai/gpt-4o-mini')).toBeNull();
  });

  it('change by the hour where the vendor does so', () => {
    const runtime = createTestRuntime(Date.UTC(2026, 10, 21, 12));
    const prices = createPrices({ runtime });
    const day = prices.priceOf('deepseek/deepseek-chat')?.[0].rates.uncachedInput;
    runtime.nowMs = Date.UTC(2026, 10, 21, 20);
    expect(prices.priceOf('deepseek/deepseek-chat')?.[0].rates.uncachedInput).not.toBe(day);
    // Also back, when the clock was set back.
    runtime.nowMs = Date.UTC(2026, 10, 21, 12);
    expect(prices.priceOf('deepseek/deepseek-chat')?.[0].rates.uncachedInput).toBe(day);
  });
});
