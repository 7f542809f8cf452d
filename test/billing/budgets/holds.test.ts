import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BOUNDLESS_PICO, boundCost, createHolds, HOLD_PICO_MAX } from '../../../src/billing/budgets/holds.ts';
import {
  createPrices,
  type Price,
  type PriceTier,
  TOKEN_CLASSES,
} from '../../../src/billing/prices/prices.ts';
import { featuresOf } from '../../../src/billing/budgets/request-features.ts';
import { inputTokens, outputTokens, type TokenCounts } from '../../../src/usage/usage.ts';
import { createTestRuntime } from '../support.ts';

const prices = createPrices({
  runtime: createTestRuntime(),
  markupMillionths: 1_333_333n,
  overrides: new Map([['demo/m', { input: 1_000_000n, output: 2_000_000n }]]),
});
const assess = createHolds({ prices, vendorOf: (provider) => provider });
const asked = (body: Readonly<Record<string, unknown>>, models: readonly string[] = ['demo/m']) => ({
  endpoint: 'chat.completions',
  bodyBytes: JSON.stringify(body).length,
  body: () => body,
  estimateInput: () => 5,
  targets: models.map((billedModel) => ({
    billedModel,
    upstreamModel: billedModel.split('/')[1] ?? '',
    providerType: 'openai-compatible',
  })),
});
const counts = fc.record(
  Object.fromEntries(TOKEN_CLASSES.map((name) => [name, fc.nat(150_000)])),
) as unknown as fc.Arbitrary<TokenCounts>;

/** Every class at the same rate. */
const tier = (aboveInputTokens: number, each: bigint): PriceTier => ({
  aboveInputTokens,
  rates: Object.fromEntries(TOKEN_CLASSES.map((name) => [name, each])) as PriceTier['rates'],
});

describe('the bound in money', () => {
  it('is never below the cost of whatever is counted within the bound in tokens', () => {
    const models = fc.constantFrom(
      'openai/gpt-4o',
      'openai/gpt-5',
      'anthropic/claude-sonnet-4.5',
      'google/gemini-2.5-pro',
      'google/gemini-2.5-flash',
    );
    const cached = featuresOf({ cache_control: { type: 'ephemeral', ttl: '1h' } }, 'messages');
    fc.assert(
      fc.property(counts, models, fc.nat(50_000), (used, model, spare) => {
        const price = prices.priceOf(model);
        const cost = prices.costPico(used, model);
        if (price === null || cost === null) throw new Error(`${model} has a price.`);
        const bound = boundCost(
          { inputTokens: inputTokens(used) + spare, outputTokens: outputTokens(used) },
          cached,
          price,
        );
        expect(bound === null ? -1n : bound.input + bound.output).toBeGreaterThanOrEqual(cost);
      }),
    );
  });

  it('is by the dearest tier that the prompt may fall into, be it a shorter one', () => {
    const price: Price = [tier(0, 5n), tier(100, 9n), tier(200, 2n)];
    const most = (read: number) =>
      boundCost({ inputTokens: read, outputTokens: 1 }, featuresOf({}, 'messages'), price);
    expect([most(0), most(100), most(101), most(200), most(300)]).toEqual([
      { input: 0n, output: 5n },
      { input: 500n, output: 5n },
      { input: 909n, output: 9n },
      { input: 1800n, output: 9n },
      { input: 2700n, output: 9n },
    ]);
  });

  it('is held and must fit where the mode is strict', () => {
    const held = assess(asked({ max_tokens: 100 }), { mode: 'strict', plan: null });
    expect(held).toMatchObject({ kind: 'held' });
    if (held.kind !== 'held') return;
    expect(held.fitPico).toBe(held.holdPico);
    expect(held.outputPico).toBe(100n * 2_666_666n);
  });
});

describe('what is expected', () => {
  it('is held in standard mode; the input must fit, and the output where the request caps it', () => {
    const open = assess(asked({}), { mode: 'standard', plan: null });
    const capped = assess(asked({ max_tokens: 50 }), { mode: 'standard', plan: null });
    if (open.kind !== 'held' || capped.kind !== 'held') throw new Error('Both are held.');
    expect([open.fitPico, open.holdPico]).toEqual([5n * 1_333_333n, 5n * 1_333_333n + 1_024n * 2_666_666n]);
    expect(capped.fitPico).toBe(capped.holdPico);
  });

  it('has a little added where nothing bounds the call, which strict refuses', () => {
    const search = asked({ max_tokens: 50, tools: [{ type: 'web_search' }] });
    const standard = assess(search, { mode: 'standard', plan: null });
    if (standard.kind !== 'held') throw new Error('It is held.');
    expect(standard.holdPico).toBeGreaterThan(BOUNDLESS_PICO);
    expect(standard.outputPico).toBeNull();
    expect(assess(search, { mode: 'strict', plan: null })).toEqual({
      kind: 'boundless',
      reasons: ['web_search'],
    });
  });

  it('is that of the dearest of several targets, and shrinks for none of them', () => {
    const both = assess(asked({ max_tokens: 50 }, ['demo/m', 'openai/gpt-4o']), {
      mode: 'strict',
      plan: null,
    });
    const dear = assess(asked({ max_tokens: 50 }, ['openai/gpt-4o']), { mode: 'strict', plan: null });
    if (both.kind !== 'held' || dear.kind !== 'held') throw new Error('Both are held.');
    expect(both.holdPico).toBe(dear.holdPico);
    expect(both.outputPico).toBeNull();
  });

  it('is nothing that can be held for a model without a price', () => {
    expect(assess(asked({}, ['demo/m', 'demo/none']), { mode: 'standard', plan: null })).toEqual({
      kind: 'unpriced',
      model: 'demo/none',
    });
  });

  it('never holds more than the arithmetic has room for', () => {
    const held = assess(asked({ max_tokens: 1e15, n: 128 }), { mode: 'strict', plan: null });
    expect(held).toMatchObject({ holdPico: HOLD_PICO_MAX });
  });
});

describe('a price that lacks a half', () => {
  const halves = createPrices({
    runtime: createTestRuntime(),
    overrides: new Map([
      ['demo/reads', { input: 1_000_000n }],
      ['demo/writes', { output: 1_000_000n }],
    ]),
  });
  const assessHalf = createHolds({ prices: halves, vendorOf: (provider) => provider });
  const policy = { plan: null, mode: 'strict' } as const;

  it.each(['demo/reads', 'demo/writes'])('is none for what reads and writes: %s', (model) => {
    for (const mode of ['strict', 'standard'] as const)
      expect(assessHalf(asked({ max_tokens: 1 }, [model]), { ...policy, mode })).toEqual({
        kind: 'unpriced',
        model,
      });
  });

  it('is one for what only reads', () => {
    const embedding = { ...asked({ input: 'a' }, ['demo/reads']), endpoint: 'embeddings' };
    expect(assessHalf(embedding, policy)).toMatchObject({ kind: 'held' });
  });
});
