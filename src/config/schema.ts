/** The one schema of the configuration file: what may be written, its defaults, and what is said when it is wrong. */
import { z } from 'zod';
import { PRESET_NAMES } from '../../providers/presets.ts';
import { FACTOR_DIGITS, PICO_DIGITS, PRICE_DIGITS, parseDecimal } from './decimal.ts';
import { duration } from './duration.ts';
import { breaker, providerTimeouts, retries, timeouts } from './reliability.ts';
import { autoTopUp, NOT_WITH_OVERAGE, topUpLink } from './top-up.ts';

/** A provider's name is the part before the slash in every billed model, so it is plain. */
const PROVIDER_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const PLAIN = 'lower-case letters, digits, dots, dashes and underscores, a letter or digit first, 64 at most';
/** Anything a caller may send as `model`, without spaces or control characters. */
const MODEL_NAME = /^[\x21-\x7e]{1,200}$/;
const PRICED_MODEL = /^[a-z0-9][a-z0-9._-]{0,63}\/[\x21-\x7e]{1,200}$/;
/** Tried one after the other within one call: more than this is a loop, not a fallback. */
const FALLBACKS_MAX = 8;
/** A window holds usage back from Stripe; past an hour credit alerts come too late to mean anything. */
const WINDOW_MS_MAX = 3_600_000;

/** Younger usage may still be sent, refused, taken back or compared. */
const RETENTION_DAYS_MIN = 36;
export const PROVIDER_TYPES = [
  'openai',
  'openai-compatible',
  'anthropic',
  'google',
  ...PRESET_NAMES,
] as const;
export const ENDPOINTS = [
  'chat.completions',
  'completions',
  'responses',
  'embeddings',
  'messages',
  'generateContent',
  'embedContent',
  'moderations',
  'images.generations',
  'images.edits',
  'audio.speech',
  'audio.transcriptions',
  'audio.translations',
] as const;

/** `digits` is how many decimals are kept exactly; more are refused, not rounded. */
const decimal = (digits: number, meaning: string): z.ZodType<bigint, string | number> => {
  const error = `must be ${meaning}: plain digits with at most ${String(digits)} decimals, such as 0.25`;
  return z
    .union([z.string().regex(/^\d+(\.\d+)?$/, { error }), z.number().nonnegative({ error })], { error })
    .transform((value, context) => {
      const scaled = parseDecimal(String(value), digits);
      if (scaled !== undefined) return scaled;
      context.issues.push({ code: 'custom', message: error, input: value });
      return z.NEVER;
    });
};

/** Dunning takes weeks, 90 days at most; past this nobody is waiting for a payment any more. */
const GRACE_MS_MAX = 7_776_000_000;

const limit = (meaning: string) =>
  z
    .int({ error: 'must be a whole number, 1 or more, or null for no limit' })
    .positive({ error: 'must be 1 or more; for no limit write null' })
    .nullable()
    .default(null)
    .describe(meaning);

const oneOf = <const T extends readonly [string, ...string[]]>(
  values: T,
  initial: T[number],
  meaning: string,
) => z.enum(values).default(initial).describe(meaning);

const listOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z
    .array(z.enum(values), { error: `must be a list of ${values.join(', ')}` })
    .min(1, { error: 'must name at least one' })
    .refine((items) => new Set(items).size === items.length, { error: 'names something twice' });

const provider = z.strictObject({
  type: z
    .enum(PROVIDER_TYPES)
    .optional()
    .describe('The wire format, or the vendor; understood from the name where that is one of them.'),
  base_url: z
    .string()
    .nullish()
    .describe(
      'http(s) address without credentials or query; required for openai-compatible, azure, bedrock and vllm.',
    ),
  api_key: z.string().nullish().describe('Write ${NAME}: while that variable is unset the provider is off.'),
  endpoints: listOf(ENDPOINTS).optional().describe('Only these routes; without it, every route of the type.'),
  include_usage: z
    .boolean()
    .default(true)
    .describe('Whether stream_options.include_usage may be asked for upstream.'),
  timeouts: providerTimeouts,
});

const target = z
  .string({ error: 'must be "provider/model"' })
  .regex(PRICED_MODEL, { error: 'must be "provider/model", such as openai/gpt-5-mini' });
const alias = z.union([target.transform((one) => [one]), z.array(target).min(1).max(FALLBACKS_MAX)], {
  error: `must be "provider/model" or a list of one to ${String(FALLBACKS_MAX)} of them, in the order to try`,
});

const SINK_NAME = /^[a-z0-9][a-z0-9-]{0,39}$/;
const sinkAddress = z.string().regex(/^https?:\/\/[^\s]{1,500}$/, { error: 'must be an http(s) address' });
const sink = z
  .strictObject({
    type: z
      .enum(['webhook', 'cloudevents', 'metronome'])
      .describe('A signed webhook, CloudEvents over HTTP, or Metronome.'),
    url: sinkAddress.nullish().describe("Where to; Metronome's own address unless given."),
    secret: z
      .string()
      .nullish()
      .describe("A webhook's signing secret, or the token that is sent as Bearer. Write ${NAME}."),
  })
  .refine(({ type, url }) => type === 'metronome' || (url ?? '') !== '', {
    path: ['url'],
    error: 'is required for this type',
  })
  .refine(({ type, secret }) => type !== 'webhook' || (secret ?? '') !== '', {
    path: ['secret'],
    error: 'is required for a webhook: its receiver must be able to tell whose it is',
  });

const billing = z.strictObject({
  event_name: z
    .string()
    .regex(/^[\x21-\x7e]{1,100}$/, { error: 'must be 1 to 100 characters without spaces' })
    .default('token-billing-tokens')
    .describe("The Stripe meter's event name."),
  layouts: listOf(['dimensions', 'per_type', 'cost']).default(['dimensions']),
  token_types: listOf(['input', 'output', 'cached_input', 'cache_write', 'reasoning'])
    .refine((types) => types.includes('input') && types.includes('output'), {
      error: 'must contain input and output; the finer types are split out of those two',
    })
    .default(['input', 'output']),
  transport: oneOf(['auto', 'v2', 'v1', 'stream'], 'auto', "Stripe's API that meter events go to."),
  window: duration(0, WINDOW_MS_MAX, 'an hour at most')
    .prefault('0s')
    .describe('Above 0s: one event per customer, model and token type per window.'),
  markup: decimal(FACTOR_DIGITS, 'a factor').prefault(1).describe('Factor on the price in the cost layout.'),
  price_classes: z
    .record(
      z.string().regex(SINK_NAME, { error: 'a price class is lower-case letters, digits and dashes' }),
      z.array(z.string().regex(/^[a-z0-9][\x21-\x7e]{0,260}$/)).min(1),
    )
    .default({})
    .describe('For per_type: billed models, or beginnings that end in *, that share a price.'),
  sinks: z
    .record(
      z.string().regex(SINK_NAME, { error: "a sink's name is lower-case letters, digits and dashes" }),
      sink,
    )
    .default({})
    .describe('Other places that get the same usage.'),
});

const notify = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/, error: 'must be an http(s) address' })
      .nullable()
      .default(null),
    secret: z
      .string()
      .regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, { error: 'must be whsec_ and base64 of 24 to 64 bytes' })
      .nullable()
      .default(null)
      .describe('Write ${NAME}; signs each notice as Standard Webhooks says.'),
    low_balance: decimal(PICO_DIGITS, 'an amount in USD')
      .optional()
      .describe('A balance at or below it is told of.'),
  })
  .refine(({ url, secret }) => url === null || secret !== null, {
    path: ['secret'],
    error: 'is required: a notice that is not signed could be anyone’s',
  })
  .describe("Notices to the operator's own webhook.");

const onEmpty = z.union(
  [
    z.enum(['block', 'overage']).transform((kind) => ({ kind })),
    z
      .strictObject({ grace: decimal(PICO_DIGITS, 'an amount in USD') })
      .transform(({ grace }) => ({ kind: 'grace' as const, pico: grace })),
  ],
  { error: 'must be block, overage or { grace: "5.00" }' },
);

function isToppedUpOrOnOverage(of: {
  readonly on_empty?: { readonly kind: string } | undefined;
  readonly auto_top_up?: object | null | undefined;
}): boolean {
  return of.on_empty?.kind !== 'overage' || (of.auto_top_up ?? null) === null;
}

const budget = z
  .strictObject({
    mode: oneOf(['strict', 'standard', 'observe'], 'standard', 'How hard the money is guarded.'),
    no_credit: oneOf(['serve', 'refuse'], 'serve', 'A customer who never had a credit grant.'),
    on_empty: onEmpty.prefault('block'),
    payment_grace: duration(0, GRACE_MS_MAX, '90d at most')
      .prefault('0s')
      .describe('How long a customer is served after a payment is missing or his subscription ended.'),
    top_up_url: z
      .url({ protocol: /^https?$/, error: 'must be an http(s) address' })
      .nullable()
      .default(null)
      .describe('Where a customer adds credit, told with a refusal; {customer} stands for his id.'),
    top_up_link: topUpLink.prefault({}),
    auto_top_up: autoTopUp
      .prefault('off')
      .describe('Charges the default payment method when the balance is at or below an amount.'),
    when_unknown: oneOf(
      ['refuse', 'allow'],
      'refuse',
      'Stripe could not say within 2 s who a new customer is.',
    ),
    alerts: z
      .strictObject({
        default: oneOf(['block', 'notify'], 'block', 'What an alert does when it fires.'),
        notify_only: z.array(z.string().min(1)).default([]).describe('Alert ids or titles that only notify.'),
      })
      .prefault({}),
  })
  .refine(isToppedUpOrOnOverage, { path: ['auto_top_up'], error: NOT_WITH_OVERAGE });

const plan = z
  .strictObject({
    markup: decimal(FACTOR_DIGITS, 'a factor').optional().describe('In place of billing.markup.'),
    mode: z.enum(['strict', 'standard', 'observe']).optional().describe('In place of budget.mode.'),
    no_credit: z.enum(['serve', 'refuse']).optional().describe('In place of budget.no_credit.'),
    on_empty: onEmpty.optional().describe('In place of budget.on_empty.'),
    auto_top_up: autoTopUp.optional().describe('In place of budget.auto_top_up.'),
  })
  .refine(isToppedUpOrOnOverage, { path: ['auto_top_up'], error: NOT_WITH_OVERAGE })
  .describe("What holds for a plan's customers; a part left out is as in budget and billing.");

const price = z
  .strictObject({
    markup: decimal(FACTOR_DIGITS, 'a factor')
      .optional()
      .describe("The model's own factor, in place of the plan's and of billing.markup."),
    input: decimal(PRICE_DIGITS, 'USD per million tokens').optional(),
    output: decimal(PRICE_DIGITS, 'USD per million tokens').optional(),
    cache_read: decimal(PRICE_DIGITS, 'USD per million tokens').optional(),
    cache_write: decimal(PRICE_DIGITS, 'USD per million tokens').optional(),
    cache_write_1h: decimal(PRICE_DIGITS, 'USD per million tokens').optional(),
    image: decimal(PICO_DIGITS, 'USD for one picture').optional(),
    second: decimal(PICO_DIGITS, 'USD for a second of sound').optional(),
    character: decimal(PICO_DIGITS, 'USD for a character read aloud').optional(),
    web_search: decimal(PICO_DIGITS, "USD for one search by the vendor's own tool").optional(),
  })
  .describe('USD per million tokens, or USD each; a part left out comes from the catalogue.');

export const fileSchema = z.strictObject({
  providers: z
    .record(z.string().regex(PROVIDER_NAME, { error: `a provider name is ${PLAIN}` }), provider)
    .default({}),
  models: z
    .record(
      z.string().regex(MODEL_NAME, { error: 'an alias has no spaces and 200 characters at most' }),
      alias,
    )
    .default({}),
  billing: billing.prefault({}),
  budget: budget.prefault({}),
  notify: notify.prefault({}),
  limits: z
    .strictObject({
      rpm: limit('Requests per minute and key.'),
      tpm: limit('Tokens per minute and key.'),
      concurrency: limit('Running calls per key.'),
    })
    .prefault({}),
  ledger: z
    .strictObject({
      retention: z
        .int({ error: 'must be a whole number of days, or null to keep everything' })
        .min(RETENTION_DAYS_MIN, {
          error: `must be ${String(RETENTION_DAYS_MIN)} days or more: Stripe takes usage, and is compared with, for 35`,
        })
        .nullable()
        .default(null)
        .describe('Days that calls and events are kept once they are confirmed.'),
    })
    .prefault({}),
  metering: z
    .strictObject({
      on_disconnect: oneOf(['drain', 'cancel'], 'drain', 'The caller left before the end.'),
      on_missing_usage: oneOf(
        ['estimate', 'refuse', 'zero'],
        'estimate',
        'The upstream said nothing about usage.',
      ),
    })
    .prefault({}),
  plans: z.record(z.string().regex(PROVIDER_NAME, { error: `a plan name is ${PLAIN}` }), plan).default({}),
  timeouts,
  retries,
  breaker,
  prices: z
    .record(
      z.string().regex(PRICED_MODEL, { error: 'must be "provider/model", such as openai/gpt-5-mini' }),
      price,
    )
    .default({}),
});

/** What stands under a name that the operator chose, by section. */
export const ENTRIES: Readonly<Record<string, z.ZodType>> = {
  providers: provider,
  models: alias,
  plans: plan,
  prices: price,
};

export type ConfigFile = z.output<typeof fileSchema>;

/** The schema as JSON Schema (2020-12) of what may be written in the file, for editors. */
export const configJsonSchema = (): Record<string, unknown> => ({
  ...z.toJSONSchema(fileSchema, { io: 'input' }),
  title: 'Faregate configuration',
});
