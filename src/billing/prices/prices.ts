/**
 * What a model's tokens cost, in whole picodollars per token (10^-12 USD; a dollar per million tokens is 10^6 of them).
 *
 * The catalogue has floating-point rates. Each is read once, by its decimal text, times the markup, rounded half up to a
 * whole picodollar; from there on everything is integers and a bill is the exact sum of its classes.
 */
import { calcPrice, findProvider } from '@pydantic/genai-prices';
import type { ModelPrice } from '@pydantic/genai-prices';
import type { Runtime } from '../../runtime.ts';
import { inputTokens } from '../../usage/usage.ts';
import type { TokenCounts, Usage } from '../../usage/usage.ts';
import { unitCost, type UnitPrices, type UnitRates, unitRates } from './unit-prices.ts';

export type TokenClass = keyof TokenCounts;

/** Picodollars per token; null where neither the catalogue nor the configuration has a price. */
export type Rates = Readonly<Record<TokenClass, bigint | null>>;

/** The rates of prompts with more than so many tokens, for the whole call. */
export interface PriceTier {
  readonly aboveInputTokens: number;
  readonly rates: Rates;
}
/** Ascending by `aboveInputTokens`; the first is for every prompt. */
export type Price = readonly [PriceTier, ...PriceTier[]];

/** An override's rates in picodollars per token; a part left out comes from the catalogue. */
export interface PriceOverride extends UnitPrices {
  /** The factor on this model's rates, in millionths, in place of the plan's and the general one. */
  readonly markupMillionths?: bigint | undefined;
  readonly input?: bigint | undefined;
  readonly output?: bigint | undefined;
  readonly cacheRead?: bigint | undefined;
  readonly cacheWrite?: bigint | undefined;
  readonly cacheWrite1h?: bigint | undefined;
}

export interface PricesOptions {
  /** By billed model. */
  readonly overrides?: ReadonlyMap<string, PriceOverride> | undefined;
  /** The factor on every rate, in millionths: 1_000_000n charges what the provider charges. */
  readonly markupMillionths?: bigint | undefined;
  /** A plan's factor in place of it; a model's own, in its override, goes before both. */
  readonly planMarkups?: ReadonlyMap<string, bigint> | undefined;
  readonly runtime: Pick<Runtime, 'now'>;
  /** The catalogue's vendor of a configured provider's name; null for none. A name is its own vendor without this. */
  readonly vendorOf?: ((provider: string) => string | null) | undefined;
}

export interface Prices {
  /** The price now, markup included; null for a model nobody has a price for. */
  priceOf(billedModel: string, plan?: string | null): Price | null;
  /** What is charged beside tokens, markup included. */
  unitsOf(billedModel: string, plan?: string | null): UnitRates;
  /** What the usage costs; null when the model, or a class or unit that was used, has no price. */
  costPico(usage: Usage, billedModel: string, plan?: string | null): bigint | null;
  /** Names the catalogue and the configured prices: the same name, the same prices, but for what changes with the time. */
  readonly version: string;
}

export const TOKEN_CLASSES = [
  'uncachedInput',
  'cacheRead',
  'cacheWrite',
  'cacheWrite1h',
  'audioInput',
  'imageInput',
  'textOutput',
  'reasoning',
  'audioOutput',
  'imageOutput',
] as const satisfies readonly TokenClass[];

/** Callers choose model names, so the memory of them is bounded: a few hundred bytes each. */
const CACHED_MODELS_MAX = 2_000;
/** Some prices change with the date or the hour of the day; read again so often, they are at most a minute late. */
const CONDITIONAL_PRICE_MS = 60_000;
const MILLION = 1_000_000n;

export function createPrices({
  overrides = new Map(),
  markupMillionths = MILLION,
  runtime,
  vendorOf,
  planMarkups = new Map(),
}: PricesOptions): Prices {
  const cache = new Map<string, Entry>();

  const read = (billedModel: string, planMarkup: bigint): Entry => {
    const found = lookUp(billedModel, vendorOf ?? ((provider) => provider), runtime.now());
    const override = overrides.get(billedModel);
    const markup = override?.markupMillionths ?? planMarkup;
    const untilMs = found?.conditional === true ? runtime.now() + CONDITIONAL_PRICE_MS : Infinity;
    const units = unitRates(override ?? {}, found?.rates ?? {}, markup);
    if (found === undefined && override === undefined) return { price: null, units, untilMs };
    return { price: priceFrom(found?.rates ?? {}, override ?? {}, markup), units, untilMs };
  };

  const entryOf = (billedModel: string, plan: string | null | undefined): Entry => {
    const planMarkup = plan == null ? undefined : planMarkups.get(plan);
    const name = planMarkup === undefined ? billedModel : `${billedModel} ${planMarkup}`;
    const cached = cache.get(name);
    if (cached !== undefined && isGood(cached, runtime.now())) return cached;
    const entry = read(billedModel, planMarkup ?? markupMillionths);
    if (cache.size >= CACHED_MODELS_MAX) cache.clear();
    cache.set(name, entry);
    return entry;
  };

  return {
    priceOf: (billedModel, plan) => entryOf(billedModel, plan).price,
    unitsOf: (billedModel, plan) => entryOf(billedModel, plan).units,
    version: versionOf({ overrides, markupMillionths, planMarkups }),
    costPico(usage, billedModel, plan) {
      const { price, units } = entryOf(billedModel, plan);
      const tokens = price === null ? null : cost(usage, price);
      const beside = unitCost(usage.units, units);
      return tokens === null || beside === null ? null : tokens + beside;
    },
  };
}

/** Not where it is good for longer than it can be: then the clock was set back, and the hour is another. */
const isGood = ({ untilMs }: Entry, nowMs: number): boolean =>
  untilMs === Infinity || (untilMs > nowMs && untilMs <= nowMs + CONDITIONAL_PRICE_MS);

/** The catalogue's own version; a test compares it with the package. */
export const CATALOGUE_VERSION = '0.1.8';

/** FNV-1a over the configured part: two configurations with one name are not to be expected, and no secret hangs on it. */
function versionOf(
  configured: Pick<PricesOptions, 'overrides' | 'markupMillionths' | 'planMarkups'>,
): string {
  const { overrides = new Map(), markupMillionths, planMarkups = new Map() } = configured;
  const parts = [[...overrides], String(markupMillionths), [...planMarkups]];
  const text = JSON.stringify(parts, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return `genai-prices@${CATALOGUE_VERSION}+${(hash >>> 0).toString(16).padStart(8, '0')}`;
}

interface Entry {
  readonly price: Price | null;
  readonly units: UnitRates;
  readonly untilMs: number;
}

/** The exact sum over the classes, at the tier of the whole prompt; null when a used class has no price. */
function cost(counts: TokenCounts, price: Price): bigint | null {
  const prompt = inputTokens(counts);
  const { rates } = price.findLast((tier) => prompt > tier.aboveInputTokens) ?? price[0];
  let sum = 0n;
  for (const tokenClass of TOKEN_CLASSES) {
    const tokens = counts[tokenClass];
    if (tokens === 0) continue;
    const rate = rates[tokenClass];
    if (rate === null) return null;
    sum += BigInt(tokens) * rate;
  }
  return sum;
}

interface Found {
  readonly rates: ModelPrice;
  readonly conditional: boolean;
}

/** The catalogue's rates. The vendor must match exactly: a local server called `my-openai` does not cost what OpenAI costs. */
function lookUp(
  billedModel: string,
  vendorOf: (provider: string) => string | null,
  nowMs: number,
): Found | undefined {
  const slash = billedModel.indexOf('/');
  const vendor = vendorOf(billedModel.slice(0, Math.max(slash, 0)));
  if (vendor === null || vendor === '' || findProvider({ providerId: vendor })?.id !== vendor)
    return undefined;
  const found = calcPrice({}, billedModel.slice(slash + 1), {
    providerId: vendor,
    timestamp: new Date(nowMs),
  });
  return found === null
    ? undefined
    : { rates: found.model_price, conditional: Array.isArray(found.model.prices) };
}

/** Where a class has no rate of its own, it costs what the class it is a part of costs: the later names of each list. */
const CATALOGUE_KEYS: Readonly<Record<TokenClass, readonly string[]>> = {
  uncachedInput: ['input_mtok'],
  cacheRead: ['cache_read_mtok', 'input_mtok'],
  cacheWrite: ['cache_write_5m_mtok', 'cache_write_mtok', 'input_mtok'],
  cacheWrite1h: ['cache_write_1h_mtok', 'cache_write_mtok', 'input_mtok'],
  audioInput: ['input_audio_mtok', 'input_mtok'],
  imageInput: ['input_image_mtok', 'input_mtok'],
  textOutput: ['output_mtok'],
  reasoning: ['output_reasoning_mtok', 'output_mtok'],
  audioOutput: ['output_audio_mtok', 'output_mtok'],
  imageOutput: ['output_image_mtok', 'output_mtok'],
};

/** The override's part that replaces each catalogue key. */
const OVERRIDE_KEYS: Readonly<Record<string, keyof PriceOverride>> = {
  input_mtok: 'input',
  cache_read_mtok: 'cacheRead',
  cache_write_5m_mtok: 'cacheWrite',
  cache_write_mtok: 'cacheWrite',
  cache_write_1h_mtok: 'cacheWrite1h',
  output_reasoning_mtok: 'output',
  output_mtok: 'output',
};

function priceFrom(catalogue: ModelPrice, override: PriceOverride, markupMillionths: bigint): Price {
  const rateOf = (tokenClass: TokenClass, above: number): bigint | null => {
    for (const key of CATALOGUE_KEYS[tokenClass]) {
      const part = OVERRIDE_KEYS[key];
      const overridden = part === undefined ? undefined : override[part];
      if (overridden !== undefined) return divideHalfUp(overridden * markupMillionths, MILLION);
      const listed = listedRate(catalogue[key], above);
      if (listed !== undefined) return picoPerToken(listed, markupMillionths);
    }
    return null;
  };
  const tier = (aboveInputTokens: number): PriceTier => ({
    aboveInputTokens,
    rates: Object.fromEntries(TOKEN_CLASSES.map((name) => [name, rateOf(name, aboveInputTokens)])) as Rates,
  });
  return [tier(0), ...tierStarts(catalogue).map(tier)];
}

/** The catalogue's rate, USD per million tokens, for prompts of just more than so many tokens. */
function listedRate(rate: ModelPrice[string], above: number): number | undefined {
  if (rate === undefined || typeof rate === 'number') return rate;
  const tiers = rate.tiers.filter((one) => one.start <= above).toSorted((a, b) => a.start - b.start);
  return tiers.at(-1)?.price ?? rate.base;
}

function tierStarts(catalogue: ModelPrice): readonly number[] {
  const starts = Object.values(catalogue).flatMap((rate) =>
    typeof rate === 'object' ? rate.tiers.map((tier) => tier.start) : [],
  );
  return [...new Set(starts)].filter((start) => start > 0).toSorted((a, b) => a - b);
}

/** USD per million tokens times a factor in millionths, as picodollars per token: the two scales cancel out. */
function picoPerToken(usdPerMillion: number, markupMillionths: bigint): bigint {
  const { digits, decimals } = decimalOf(usdPerMillion);
  return divideHalfUp(digits * markupMillionths, 10n ** BigInt(decimals));
}

/** A number's shortest decimal text, which is what the catalogue's author wrote, taken apart: 0.075 is 75 and 3. */
function decimalOf(value: number): { digits: bigint; decimals: number } {
  const [mantissa = '', exponent = '0'] = String(value).split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const decimals = fraction.length - Number(exponent);
  const digits = BigInt(whole + fraction);
  return decimals >= 0 ? { digits, decimals } : { digits: digits * 10n ** BigInt(-decimals), decimals: 0 };
}

const divideHalfUp = (dividend: bigint, divisor: bigint): bigint =>
  (dividend * 2n + divisor) / (divisor * 2n);
