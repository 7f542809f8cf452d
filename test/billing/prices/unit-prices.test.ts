import { describe, expect, it } from 'vitest';
import { unitCost, unitRates } from '../../../src/billing/prices/unit-prices.ts';

const MILLION = 1_000_000n;

describe('prices beside tokens', () => {
  it("read the catalogue's hour of sound as seconds, exactly", () => {
    expect(unitRates({}, { input_audio_hours: 0.36 }, MILLION).seconds).toBe(100_000_000n);
    expect(unitRates({}, { audio_hours: 0.27 }, MILLION).seconds).toBe(75_000_000n);
  });

  it("put the operator's price first, and the markup on either", () => {
    const rates = unitRates({ second: 7n, image: 40_000_000_000n }, { audio_hours: 0.36 }, 1_500_000n);
    expect([rates.seconds, rates.images]).toEqual([11n, 60_000_000_000n]);
    expect(unitRates({}, { audio_hours: 0.36 }, 1_500_000n).seconds).toBe(150_000_000n);
  });

  it('are the exact sum of what was counted', () => {
    const rates = unitRates({ image: 3n, character: 2n }, {}, MILLION);
    expect(unitCost({ images: 4, characters: 1_000_001 }, rates)).toBe(2_000_014n);
    expect(unitCost(undefined, rates)).toBe(0n);
    expect(unitCost({ images: 0, seconds: 0 }, rates)).toBe(0n);
  });

  it('make no cost of what has no price, but for tools that go with the tokens', () => {
    const rates = unitRates({}, {}, MILLION);
    expect(unitCost({ images: 1 }, rates)).toBeNull();
    expect(unitCost({ web_searches: 3, web_fetches: 1 }, rates)).toBe(0n);
    expect(unitCost({ web_searches: 3 }, unitRates({ webSearch: 10n }, {}, MILLION))).toBe(30n);
  });
});
