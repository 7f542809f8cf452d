/** From the bound in tokens to money: what is held for a call, and what of it must fit. */
import { type Bound, boundOf, type Vendor } from './bound.ts';
import { mediaBoundOf } from './media-bound.ts';
import { limitsOf } from './model-limits.ts';
import type { Price, Prices } from '../prices/prices.ts';
import { unitCost, type UnitRates } from '../prices/unit-prices.ts';
import { featuresOf, type RequestFeatures } from './request-features.ts';

export interface AskedTarget {
  /** As billed: `openai/gpt-4o-mini`. */
  readonly billedModel: string;
  readonly upstreamModel: string;
  /** The configured provider's type. */
  readonly providerType: string;
}

/** A request as far as its cost needs it. */
export interface Asked {
  readonly endpoint: string;
  readonly bodyBytes: number;
  /** The body's JSON, read when it is asked for; undefined for a form. */
  readonly body: () => unknown;
  /** The names of a form's parts; undefined where the body is none. */
  readonly formNames?: readonly string[] | undefined;
  /** Our own count of the input, in tokens. */
  readonly estimateInput: () => number;
  /** Whom the call may go to: the dearest counts. */
  readonly targets: readonly AskedTarget[];
}

export interface Hold {
  readonly holdPico: bigint;
  readonly fitPico: bigint;
  /** The part of it for what is generated, where the rest may go once the input is known; null where it may not. */
  readonly outputPico: bigint | null;
}

export type Assessment =
  | ({ readonly kind: 'held' } & Hold)
  /** No price: what it costs cannot be known. */
  | { readonly kind: 'unpriced'; readonly model: string }
  /** Nothing bounds it, for these reasons, and the mode is strict. */
  | { readonly kind: 'boundless'; readonly reasons: readonly string[] };

/** Held beside the estimate where the vendor may run a model as often as it likes: a few searches and a page read. */
export const BOUNDLESS_PICO = 50_000_000_000n;
/** No call holds more: 64 bits have room for four hundred such calls of one customer. It is ten thousand dollars. */
export const HOLD_PICO_MAX = 10_000_000_000_000_000n;

const isMedia = (endpoint: string): boolean =>
  endpoint.startsWith('images.') || endpoint.startsWith('audio.');
const EMBEDDINGS: ReadonlySet<string> = new Set(['embeddings', 'embedContent', 'batchEmbedContents']);
const WRITES_NOTHING: ReadonlySet<string> = new Set([...EMBEDDINGS, 'moderations']);

/** Models that search by themselves, asked or not, and are paid for it by the search. */
const SEARCHES = /search|deep-research|sonar|compound|:online$/i;
const searching = (features: RequestFeatures): RequestFeatures => ({
  ...features,
  boundless: [...features.boundless, 'a model that searches'],
});

export interface HoldsOptions {
  readonly prices: Pick<Prices, 'priceOf' | 'unitsOf'>;
  /** The catalogue's vendor of a configured provider's name. */
  readonly vendorOf: (provider: string) => string | null;
}

export interface HoldPolicy {
  readonly mode: 'strict' | 'standard' | 'observe';
  /** Whose markup counts. */
  readonly plan: string | null;
}

/** Assesses requests. In `strict` the hold is the bound; otherwise what is expected, and never more than the bound. */
export function createHolds({
  prices,
  vendorOf,
}: HoldsOptions): (asked: Asked, policy: HoldPolicy) => Assessment {
  return (asked, { mode, plan }) => {
    const body = asked.body();
    const features = featuresOf(body, asked.endpoint);
    let worst: Assessment | undefined;
    for (const target of asked.targets) {
      const price = prices.priceOf(target.billedModel, plan);
      if (price === null) return { kind: 'unpriced', model: target.billedModel };
      const beside = isMedia(asked.endpoint)
        ? mediaHold({ asked, body, target, features, price }, prices.unitsOf(target.billedModel, plan))
        : undefined;
      if (beside?.kind === 'unpriced') return beside;
      if (beside !== undefined) {
        worst = dearer(worst, beside);
        continue;
      }
      if (!isWhole(price, asked.endpoint)) return { kind: 'unpriced', model: target.billedModel };
      const vendor = vendorOf(target.billedModel.slice(0, target.billedModel.indexOf('/')));
      const bound = boundOf({
        vendor: wayOf(target.providerType),
        bodyBytes: asked.bodyBytes,
        features: SEARCHES.test(target.upstreamModel) ? searching(features) : features,
        limits: limitsOf(vendor, target.upstreamModel),
        generates: !EMBEDDINGS.has(asked.endpoint),
      });
      const held = holdOf({ asked, bound, features, price, isStrict: mode === 'strict' });
      if (held.kind !== 'held') return held;
      // Of several targets the one that serves is not known yet: what its input costs says nothing of the next one's.
      const alone = asked.targets.length === 1 ? held : { ...held, outputPico: null };
      worst = dearer(worst, alone);
    }
    return worst ?? { kind: 'boundless', reasons: ['nobody to ask'] };
  };
}

/** Whether it says what reading costs, and writing where there is any: without either a bill would have no cost at all. */
const isWhole = (price: Price, endpoint: string): boolean =>
  isMedia(endpoint) ||
  price.every(
    ({ rates }) =>
      rates.uncachedInput !== null && (rates.textOutput !== null || WRITES_NOTHING.has(endpoint)),
  );

/** Types that speak a vendor's dialect may be anybody's server; only the vendors' own are known. */
const wayOf = (type: string): Vendor =>
  type === 'openai' || type === 'anthropic' || type === 'google' ? type : 'other';

type Held = Extract<Assessment, { kind: 'held' }>;
const dearer = (worst: Assessment | undefined, held: Held): Held =>
  worst?.kind === 'held' && worst.holdPico >= held.holdPico ? worst : held;

/** Pictures and sound: what is asked for is what is expected. Undefined where their request bounds nothing. */
function mediaHold(
  {
    asked,
    body,
    target,
    features,
    price,
  }: Pick<Weighed, 'asked' | 'features' | 'price'> & { body: unknown; target: AskedTarget },
  rates: UnitRates,
): Held | Extract<Assessment, { kind: 'unpriced' }> | undefined {
  const bound = mediaBoundOf({ ...asked, ...target, formNames: asked.formNames, body });
  if (bound === null) return undefined;
  const tokens = boundCost(bound, features, price);
  const units = unitCost(bound.units, rates);
  if (tokens === null || units === null) return { kind: 'unpriced', model: target.billedModel };
  const most = tokens.input + tokens.output + units;
  return held(most, most, null);
}

interface Weighed {
  readonly asked: Asked;
  readonly bound: Bound;
  readonly features: RequestFeatures;
  readonly price: Price;
  readonly isStrict: boolean;
}

function holdOf({ asked, bound, features, price, isStrict }: Weighed): Assessment {
  const media = isMedia(asked.endpoint);
  const most = media ? null : boundCost(bound, features, price);
  if (isStrict) {
    if (most === null) return { kind: 'boundless', reasons: media ? [asked.endpoint] : bound.reasons };
    return held(most.input + most.output, most.input + most.output, most.output);
  }
  const input = Math.min(asked.estimateInput(), bound.inputTokens ?? Infinity);
  const rates = dearest(price, bound.inputTokens ?? input, features);
  const read = BigInt(input) * rates.input;
  const generated = BigInt(bound.outputExpected) * rates.output;
  const isBoundless = media || bound.inputTokens === null;
  const extra = isBoundless ? BOUNDLESS_PICO : 0n;
  const output = isBoundless ? null : generated;
  return held(read + generated + extra, bound.isCapped ? read + generated : read, output);
}

const held = (holdPico: bigint, fitPico: bigint, outputPico: bigint | null): Held => ({
  kind: 'held',
  holdPico: least(holdPico, HOLD_PICO_MAX),
  fitPico: least(fitPico, HOLD_PICO_MAX),
  outputPico: outputPico === null ? null : least(outputPico, HOLD_PICO_MAX),
});

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** What the call costs at most; null where nothing bounds it. */
export function boundCost(
  { inputTokens, outputTokens }: Pick<Bound, 'inputTokens' | 'outputTokens'>,
  features: RequestFeatures,
  price: Price,
): { readonly input: bigint; readonly output: bigint } | null {
  if (inputTokens === null || outputTokens === null) return null;
  const rates = dearest(price, inputTokens, features);
  return { input: BigInt(inputTokens) * rates.input, output: BigInt(outputTokens) * rates.output };
}

/** The highest rates of a tier and of those below it, whatever class the tokens are counted as. */
interface Dearest {
  readonly aboveInputTokens: number;
  readonly input: bigint;
  /** The same where an hour's cache may be written. */
  readonly inputWithHour: bigint;
  readonly output: bigint;
}
/** Every call asks, and a price stays for as long as its model's does. */
const dearestOf = new WeakMap<Price, readonly Dearest[]>();

/** The highest rates that can apply: of every tier that so long a prompt may fall into, and every class it may be counted as. */
function dearest(
  price: Price,
  inputTokens: number,
  { cacheWrites }: RequestFeatures,
): { readonly input: bigint; readonly output: bigint } {
  let tiers = dearestOf.get(price);
  if (tiers === undefined) dearestOf.set(price, (tiers = price.map((_, last) => highest(price, last))));
  const tier = tiers.findLast(({ aboveInputTokens }) => inputTokens > aboveInputTokens) ?? tiers[0];
  if (tier === undefined) throw new Error('A price has no tier.');
  // An hour's cache is written only on request. Other classes vendors choose as they like.
  return { input: cacheWrites === 'hour' ? tier.inputWithHour : tier.input, output: tier.output };
}

/** Of the tiers to the `last`. */
function highest(price: Price, last: number): Dearest {
  let [input, inputWithHour, output] = [0n, 0n, 0n];
  for (const { rates } of price.slice(0, last + 1)) {
    for (const name of INPUT_RATES) input = higher(input, rates[name]);
    inputWithHour = higher(higher(inputWithHour, input), rates.cacheWrite1h);
    for (const name of OUTPUT_RATES) output = higher(output, rates[name]);
  }
  return { aboveInputTokens: price[last]?.aboveInputTokens ?? 0, input, inputWithHour, output };
}

const INPUT_RATES = ['uncachedInput', 'cacheRead', 'cacheWrite', 'audioInput', 'imageInput'] as const;
const OUTPUT_RATES = ['textOutput', 'reasoning', 'audioOutput', 'imageOutput'] as const;

const higher = (high: bigint, rate: bigint | null): bigint => (rate !== null && rate > high ? rate : high);
