import type { Command } from 'commander';
import { billedName } from '../billing/billed-model.ts';
import { modelsOf } from '../billing/prices/catalogue.ts';
import { createPrices, type Price, type Prices, type TokenClass } from '../billing/prices/prices.ts';
import type { Settings } from '../config.ts';
import { formatUsd } from '../usage/money.ts';
import { type CommonOptions, addConfiguredCommand, loadSettings, say, table } from './command.ts';

/** The classes that are shown, and their names in the configuration. */
const SHOWN = {
  input: 'uncachedInput',
  output: 'textOutput',
  cache_read: 'cacheRead',
  cache_write: 'cacheWrite',
  cache_write_1h: 'cacheWrite1h',
} as const satisfies Record<string, TokenClass>;
const CLASSES = Object.entries(SHOWN);
/** A picodollar a token is a millionth of a dollar for a million tokens. */
const TOKENS = 1_000_000n;

export function registerPrices(program: Command): void {
  const prices = program.command('prices').description('what models cost, in USD per million tokens');
  addConfiguredCommand(prices, 'list', 'every model of the configured providers, markup included')
    .option('--provider <name>', "only this provider's")
    .option('--plan <name>', "with this plan's markup")
    .action(list);
  addConfiguredCommand(prices, 'diff', 'where the configuration differs from the catalogue')
    .option('--plan <name>', "with this plan's markup")
    .action(diff);
}

interface PriceOptions extends CommonOptions {
  readonly provider?: string;
  readonly plan?: string;
}

function list(options: PriceOptions): void {
  const settings = loadSettings('read', options);
  const { prices } = pricesOf(settings);
  const data = modelNames(settings)
    .filter((model) => options.provider === undefined || model.startsWith(`${options.provider}/`))
    .map((model) => ({ model, tiers: tiersOf(prices.priceOf(model, options.plan)) }));
  say(
    options,
    {
      version: prices.version,
      data: data.map(({ model, tiers }) => ({ model, tiers: tiers.map(tierJson) })),
    },
    () => [
      ...table(
        ['MODEL', ...CLASSES.map(([name]) => name.toUpperCase()), 'FROM TOKENS'],
        data.flatMap(({ model, tiers }) =>
          tiers.length === 0
            ? [[model, ...CLASSES.map(() => '-'), 'no price']]
            : tiers.map((tier) => [
                model,
                ...tier.shown.map((rate) => rate ?? '-'),
                String(tier.aboveInputTokens),
              ]),
        ),
      ),
      '',
      `Prices ${prices.version}.`,
    ],
  );
}

function diff(options: PriceOptions): void {
  const settings = loadSettings('read', options);
  const { prices, catalogue } = pricesOf(settings);
  const data = modelNames(settings).flatMap((model) => {
    const [listed, own] = [catalogue.priceOf(model), prices.priceOf(model, options.plan)];
    return CLASSES.flatMap(([name, of]) => {
      const [before, after] = [usd(listed, of), usd(own, of)];
      return before === after ? [] : [{ model, price: name, catalogue: before, configured: after }];
    });
  });
  say(options, { version: prices.version, data }, () =>
    data.length === 0
      ? ["Every price is the catalogue's."]
      : table(
          ['MODEL', 'PRICE', 'CATALOGUE', 'CONFIGURED'],
          data.map((row) => [row.model, row.price, row.catalogue ?? '-', row.configured ?? '-']),
        ),
  );
}

function pricesOf(settings: Settings): { readonly prices: Prices; readonly catalogue: Prices } {
  const types = new Map(settings.upstreams.map(({ name, type }) => [name, type]));
  const vendorOf = (provider: string): string => {
    const type = types.get(provider);
    return type === undefined || type === 'openai-compatible' ? provider : type;
  };
  const runtime = { now: () => Date.now() };
  const planMarkups = new Map(
    [...settings.plans].flatMap(([name, { markupMillionths }]) =>
      markupMillionths === undefined ? [] : [[name, markupMillionths] as const],
    ),
  );
  const { markupMillionths } = settings.billing;
  return {
    prices: createPrices({ overrides: settings.prices, markupMillionths, planMarkups, runtime, vendorOf }),
    catalogue: createPrices({ runtime, vendorOf }),
  };
}

/** The catalogue's models of every provider that is on, as they are billed, and whatever the configuration prices. */
function modelNames(settings: Settings): readonly string[] {
  const listed = settings.upstreams.flatMap(({ name, type }) =>
    modelsOf(type === 'openai-compatible' ? name : type).map((model) => `${name}/${billedName(type, model)}`),
  );
  return [...new Set([...listed, ...settings.prices.keys()])].toSorted();
}

const usd = (price: Price | null, of: TokenClass): string | null => {
  const rate = price?.[0].rates[of] ?? null;
  return rate === null ? null : formatUsd(rate * TOKENS);
};

interface Tier {
  readonly aboveInputTokens: number;
  readonly shown: readonly (string | null)[];
}

const tiersOf = (price: Price | null): readonly Tier[] =>
  (price ?? []).map(({ aboveInputTokens, rates }) => ({
    aboveInputTokens,
    shown: CLASSES.map(([, of]) => {
      const rate = rates[of];
      return rate === null ? null : formatUsd(rate * TOKENS);
    }),
  }));

/** As a program reads it: a part without a price is null. */
const tierJson = ({ aboveInputTokens, shown }: Tier): Record<string, string | number | null> =>
  Object.fromEntries([
    ['above_input_tokens', aboveInputTokens],
    ...CLASSES.map(([name], at) => [name, shown[at] ?? null] as const),
  ]);
