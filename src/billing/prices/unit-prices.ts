/** What is charged beside tokens: pictures, seconds of sound, characters read aloud, uses of a vendor's own tools. */
import type { ModelPrice } from '@pydantic/genai-prices';
import type { Unit, Units } from '../../usage/usage.ts';

/** The operator's prices, in picodollars each. */
export interface UnitPrices {
  readonly image?: bigint | undefined;
  readonly second?: bigint | undefined;
  readonly character?: bigint | undefined;
  readonly webSearch?: bigint | undefined;
}

/** Picodollars each, markup included; null where nobody has a price. */
export type UnitRates = Readonly<Record<Unit, bigint | null>>;

const MILLION = 1_000_000n;
const PICO_DIGITS = 12;
const SECONDS_AN_HOUR = 3_600n;

/** The rates of a model: the operator's, else the catalogue's, which knows seconds only, by the hour. */
export function unitRates(override: UnitPrices, catalogue: ModelPrice, markupMillionths: bigint): UnitRates {
  const marked = (price: bigint | undefined): bigint | null =>
    price === undefined ? null : halfUp(price * markupMillionths, MILLION);
  const hour = catalogue['input_audio_hours'] ?? catalogue['audio_hours'];
  const second =
    typeof hour === 'number' ? halfUp(picoOf(hour) * markupMillionths, SECONDS_AN_HOUR * MILLION) : null;
  return {
    images: marked(override.image),
    seconds: marked(override.second) ?? second,
    characters: marked(override.character),
    web_searches: marked(override.webSearch),
    // Fetching costs its vendors' customers nothing but the tokens that were read.
    web_fetches: null,
  };
}

/** Tools without a price of their own go with the tokens; of the others each must have one. */
const FREE_UNLESS_PRICED: readonly string[] = ['web_searches', 'web_fetches'] satisfies readonly Unit[];

/** What the units cost; null when one has no price. */
export function unitCost(units: Units | undefined, rates: UnitRates): bigint | null {
  let sum = 0n;
  for (const [unit, count] of Object.entries(units ?? {}) as [Unit, number][]) {
    const rate = rates[unit];
    if (count === 0 || (rate === null && FREE_UNLESS_PRICED.includes(unit))) continue;
    if (rate === null) return null;
    sum += BigInt(count) * rate;
  }
  return sum;
}

/** USD as the catalogue writes it, by its decimal text. */
function picoOf(usd: number): bigint {
  // The catalogue has floats only; from here on it is picodollars.
  // oxlint-disable-next-line no-restricted-properties
  const [whole = '0', fraction = ''] = usd.toFixed(PICO_DIGITS).split('.');
  return BigInt(whole + fraction);
}

const halfUp = (dividend: bigint, divisor: bigint): bigint => (dividend * 2n + divisor) / (divisor * 2n);
