/** The configuration file from text to values: every problem of the text is found in one reading. */
import type { z } from 'zod';
import { type Env, type Plain, type SourceDocument, readDocument } from './document.ts';
import { type Path, type Problem, didYouMean, pathText } from './problem.ts';
import { type ConfigFile, ENTRIES, PROVIDER_TYPES, configJsonSchema, fileSchema } from './schema.ts';
import { presetOf } from '../../providers/presets.ts';
import { parseBaseUrl } from './base-url.ts';
import { partOf, type Timeouts, toTimeouts } from './reliability.ts';
import type { AutoTopUp } from './top-up.ts';

export type { Timeouts } from './reliability.ts';

export type ProviderType = (typeof PROVIDER_TYPES)[number];

/** A credential as the file gives it: its value, the variable that is unset, or nothing. */
export type Credential =
  | { readonly kind: 'given'; readonly value: string }
  | { readonly kind: 'unset'; readonly variable: string }
  | { readonly kind: 'absent' };

export interface ProviderConfig {
  readonly name: string;
  readonly type: ProviderType;
  /** No trailing slash; null for the vendor's own. */
  readonly baseUrl: string | null;
  readonly apiKey: Credential;
  /** Undefined: every endpoint of the type. */
  readonly endpoints: readonly string[] | undefined;
  readonly asksUsage: boolean;
  /** Its own, where it has any. */
  readonly timeouts: Partial<Timeouts>;
}

/** Picodollars per token; undefined where the catalogue decides. */
export interface PriceOverride {
  readonly input: bigint | undefined;
  readonly output: bigint | undefined;
  readonly cacheRead: bigint | undefined;
  readonly cacheWrite: bigint | undefined;
  readonly cacheWrite1h: bigint | undefined;
  /** The factor times 1,000,000, in place of the plan's and the general one. */
  readonly markupMillionths?: bigint | undefined;
  /** Picodollars each, where a vendor counts no tokens. */
  readonly image?: bigint | undefined;
  readonly second?: bigint | undefined;
  readonly character?: bigint | undefined;
  readonly webSearch?: bigint | undefined;
}

/** A place other than Stripe that gets the usage. */
export interface SinkConfig {
  readonly type: ConfigFile['billing']['sinks'][string]['type'];
  /** Null for the vendor's own. */
  readonly url: string | null;
  readonly secret: string | null;
}

/** What a plan has of its own; undefined where the general settings hold. */
export interface PlanConfig {
  readonly markupMillionths: bigint | undefined;
  readonly mode: ConfigFile['budget']['mode'] | undefined;
  readonly noCredit: ConfigFile['budget']['no_credit'] | undefined;
  readonly onEmpty: ConfigFile['budget']['on_empty'] | undefined;
  /** Null: off for the plan. */
  readonly autoTopUp: AutoTopUp | null | undefined;
}

export interface Config {
  readonly providers: readonly ProviderConfig[];
  /** Alias to `provider/model`, in the order to try. */
  readonly aliases: ReadonlyMap<string, readonly string[]>;
  readonly billing: {
    readonly eventName: string;
    readonly layouts: ConfigFile['billing']['layouts'];
    readonly tokenTypes: ConfigFile['billing']['token_types'];
    readonly transport: ConfigFile['billing']['transport'];
    readonly windowMs: number;
    /** The factor times 1,000,000. */
    readonly markupMillionths: bigint;
    /** By name: billed models, or beginnings that end in `*`. */
    readonly priceClasses: ReadonlyMap<string, readonly string[]>;
    readonly sinks: ReadonlyMap<string, SinkConfig>;
  };
  readonly budget: {
    readonly mode: ConfigFile['budget']['mode'];
    readonly noCredit: ConfigFile['budget']['no_credit'];
    readonly onEmpty: ConfigFile['budget']['on_empty'];
    /** Milliseconds. */
    readonly paymentGraceMs: number;
    /** `{customer}` in it stands for the customer's id. */
    readonly topUpUrl: string | null;
    readonly topUpLink: ConfigFile['budget']['top_up_link'];
    readonly autoTopUp: AutoTopUp | null;
    readonly whenUnknown: ConfigFile['budget']['when_unknown'];
    readonly alerts: { readonly default: 'block' | 'notify'; readonly notifyOnly: readonly string[] };
  };
  /** Null: nobody is told. */
  readonly notify: {
    readonly url: string;
    readonly secret: string;
    readonly lowBalancePico: bigint | null;
  } | null;
  /** Null keeps everything. */
  readonly ledger: { readonly retentionDays: number | null };
  readonly limits: {
    readonly rpm: number | null;
    readonly tpm: number | null;
    readonly concurrency: number | null;
  };
  readonly metering: {
    readonly onDisconnect: ConfigFile['metering']['on_disconnect'];
    readonly onMissingUsage: ConfigFile['metering']['on_missing_usage'];
  };
  /** By name. What a plan leaves out is as in `budget` and `billing`. */
  readonly plans: ReadonlyMap<string, PlanConfig>;
  readonly timeouts: Timeouts;
  readonly retries: { readonly max: number; readonly waitMsMax: number };
  readonly breaker: { readonly failuresMax: number; readonly openMsMax: number };
  /** By `provider/model`. */
  readonly prices: ReadonlyMap<string, PriceOverride>;
}

export type ParsedConfig =
  | { readonly kind: 'ok'; readonly config: Config; readonly warnings: readonly Problem[] }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] };

/** Reads the file's text. `env` is what `${NAME}` is looked up in. */
export function parseConfig(text: string, { env }: { readonly env: Env }): ParsedConfig {
  const source = readDocument(text, env);
  if (source.problems.some((problem) => problem.message.startsWith('not valid YAML'))) {
    return { kind: 'invalid', problems: inOrder(source.problems) };
  }
  const parsed = fileSchema.safeParse(sections(source.tree));
  const problems = [
    ...source.problems,
    ...(parsed.error?.issues ?? []).flatMap((issue) => issueProblems(issue, source)),
    ...crossProblems(source),
  ];
  if (!parsed.success || problems.length > 0) return { kind: 'invalid', problems: inOrder(problems) };
  return { kind: 'ok', config: toConfig(parsed.data, source), warnings: warnings(source) };
}

/** A section whose lines are all commented out is null in YAML: the same as not there. */
const sections = (tree: Plain): Plain =>
  isRecord(tree) ? Object.fromEntries(Object.entries(tree).filter(([, value]) => value !== null)) : tree;

/** By place in the file; of several about one key, the first said is enough. */
function inOrder(problems: readonly Problem[]): readonly Problem[] {
  const said = new Set<string>();
  return [...problems]
    .sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
    .filter(({ path, line, column }) => {
      const place = JSON.stringify([path, line, column]);
      return !said.has(place) && said.add(place);
    });
}

function issueProblems(issue: z.core.$ZodIssue, source: SourceDocument): readonly Problem[] {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  // A value that could not be put in was already reported as that.
  if (source.problems.some((problem) => problem.path !== '' && problem.path === pathText(path))) return [];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) =>
        source.at([...path, key], `unknown key "${key}"${didYouMean(key, keysAt(path))}`),
      );
    case 'invalid_value': {
      const values = issue.values.map(String);
      return [source.at(path, `must be one of ${values.join(', ')}${shown(path, source, values)}`)];
    }
    case 'invalid_key':
      return [source.at(path, issue.issues[0]?.message ?? issue.message), ...entryProblems(path, source)];
    case 'invalid_type':
      return [
        source.at(
          path,
          issue.message.startsWith('Invalid input') ? expectation(issue.expected) : issue.message,
        ),
      ];
    default:
      return [source.at(path, issue.message)];
  }
}

/** The schema looks at nothing under a name that is wrong: here what stands there is looked at too. */
function entryProblems(path: Path, source: SourceDocument): readonly Problem[] {
  const found = ENTRIES[String(path[0])]?.safeParse(valueAt(source.tree, path));
  return (found?.error?.issues ?? []).flatMap((issue) =>
    issueProblems({ ...issue, path: [...path, ...issue.path] }, source),
  );
}

const EXPECTATIONS: Readonly<Record<string, string>> = {
  object: 'must be a mapping of keys and values',
  record: 'must be a mapping of names and values',
  array: 'must be a list',
  string: 'must be text',
  boolean: 'must be true or false',
};
const expectation = (expected: string): string => EXPECTATIONS[expected] ?? `must be ${expected}`;

/** The wrong word and the right one; a word from the environment is not shown, it might be a secret put in the wrong place. */
function shown(path: Path, source: SourceDocument, candidates: readonly string[]): string {
  const value = valueAt(source.tree, path);
  if (typeof value !== 'string' || source.substituted.has(pathText(path))) return '';
  return `, not "${value.slice(0, 40)}"${didYouMean(value, candidates)}`;
}

const valueAt = (tree: Plain, path: Path): unknown =>
  path.reduce<unknown>(
    (node, part) => (typeof node === 'object' && node !== null ? Reflect.get(node, part) : undefined),
    tree,
  );

/** The keys the schema knows at a path, read from its JSON Schema: plain data, whatever zod wraps around it. */
function keysAt(path: Path): readonly string[] {
  let nodes: readonly unknown[] = [configJsonSchema()];
  for (const part of path) nodes = nodes.flatMap(alternatives).flatMap((node) => below(node, part));
  return nodes.flatMap(alternatives).flatMap((node) => Object.keys(recordAt(node, 'properties') ?? {}));
}

const alternatives = (node: unknown): readonly unknown[] => {
  const options: unknown = isRecord(node) ? node['anyOf'] : undefined;
  return Array.isArray(options) ? options : [node];
};
function below(node: unknown, part: string | number): readonly unknown[] {
  const own = recordAt(node, 'properties')?.[String(part)];
  return own === undefined ? [recordAt(node, 'additionalProperties') ?? {}] : [own];
}
function recordAt(node: unknown, key: string): Readonly<Record<string, unknown>> | undefined {
  const found: unknown = isRecord(node) ? node[key] : undefined;
  return isRecord(found) ? found : undefined;
}
const isRecord = (value: unknown): value is Readonly<Record<string, Plain>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Providers that need no entry in the file: the environment turns them on; `demo` belongs to the sandbox. */
const BUILT_IN = ['openai', 'anthropic', 'google', 'demo'];

/** What one key says about another. It reads the tree, so that it is said beside every other problem. */
function crossProblems(source: SourceDocument): readonly Problem[] {
  const providers = recordAt(source.tree, 'providers') ?? {};
  const names = [...new Set([...BUILT_IN, ...Object.keys(providers)])];
  return [
    ...Object.entries(providers).flatMap(([name, entry]) =>
      isRecord(entry) ? providerProblems(name, entry, source) : [],
    ),
    ...Object.entries(recordAt(source.tree, 'models') ?? {}).flatMap(([alias, targets]) =>
      [targets].flat().flatMap((target, index) => {
        const prefix = typeof target === 'string' ? /^([^/]+)\/./.exec(target)?.[1] : undefined;
        if (prefix === undefined || names.includes(prefix)) return [];
        const path = Array.isArray(targets) ? ['models', alias, index] : ['models', alias];
        return [source.at(path, `no provider is called "${prefix}"${didYouMean(prefix, names)}`)];
      }),
    ),
  ];
}

function providerProblems(
  name: string,
  entry: Readonly<Record<string, Plain>>,
  source: SourceDocument,
): readonly Problem[] {
  const problems: Problem[] = [];
  const path = ['providers', name];
  const type = entry['type'] ?? vendorType(name);
  const baseUrl = entry['base_url'];
  if (type === undefined) {
    const hint = didYouMean(name, BUILT_IN.slice(0, 3));
    problems.push(source.at(path, `needs a type: ${PROVIDER_TYPES.join(', ')}${hint}`));
  }
  if (typeof baseUrl === 'string') {
    const parsed = parseBaseUrl(baseUrl);
    if (parsed.kind === 'invalid') problems.push(source.at([...path, 'base_url'], parsed.message));
  } else if (type === 'openai-compatible') {
    problems.push(source.at(path, 'needs a base_url, such as https://api.groq.com/openai/v1'));
  } else if (typeof type === 'string' && presetOf(type)?.baseUrl === null) {
    problems.push(source.at(path, `needs a base_url, such as ${presetOf(type)?.example ?? ''}`));
  }
  return problems;
}

const vendorType = (name: string): ProviderType | undefined =>
  name === 'openai-compatible' ? undefined : PROVIDER_TYPES.find((type) => type === name);

const warnings = (source: SourceDocument): readonly Problem[] =>
  Object.entries(recordAt(source.tree, 'providers') ?? {}).flatMap(([name, entry]) => {
    const path = ['providers', name, 'api_key'];
    const value: unknown = isRecord(entry) ? entry['api_key'] : undefined;
    const literal =
      typeof value === 'string' && value.length >= 16 && !source.substituted.has(pathText(path));
    return literal
      ? [source.at(path, 'this key is written in the file; put it in the environment and write ${ITS_NAME}')]
      : [];
  });

function toConfig(file: ConfigFile, source: SourceDocument): Config {
  return {
    providers: Object.entries(file.providers).map(([name, entry]) => toProvider(name, entry, source)),
    aliases: new Map(Object.entries(file.models)),
    billing: {
      eventName: file.billing.event_name,
      layouts: file.billing.layouts,
      tokenTypes: file.billing.token_types,
      transport: file.billing.transport,
      windowMs: file.billing.window,
      markupMillionths: file.billing.markup,
      priceClasses: new Map(Object.entries(file.billing.price_classes)),
      sinks: new Map(
        Object.entries(file.billing.sinks).map(([name, { type, url, secret }]) => [
          name,
          { type, url: url ?? null, secret: secret ?? null },
        ]),
      ),
    },
    budget: {
      mode: file.budget.mode,
      noCredit: file.budget.no_credit,
      onEmpty: file.budget.on_empty,
      paymentGraceMs: file.budget.payment_grace,
      topUpUrl: file.budget.top_up_url,
      topUpLink: file.budget.top_up_link,
      autoTopUp: file.budget.auto_top_up,
      whenUnknown: file.budget.when_unknown,
      alerts: { default: file.budget.alerts.default, notifyOnly: file.budget.alerts.notify_only },
    },
    notify: toNotify(file.notify),
    ledger: { retentionDays: file.ledger.retention },
    limits: file.limits,
    metering: {
      onDisconnect: file.metering.on_disconnect,
      onMissingUsage: file.metering.on_missing_usage,
    },
    plans: new Map(Object.entries(file.plans).map(([name, plan]) => [name, toPlan(plan)])),
    timeouts: toTimeouts(file.timeouts),
    retries: { max: file.retries.max, waitMsMax: file.retries.wait_max },
    breaker: { failuresMax: file.breaker.failures, openMsMax: file.breaker.open_max },
    prices: new Map(Object.entries(file.prices).map(([model, price]) => [model, toPrice(price)])),
  };
}

const toNotify = ({ url, secret, low_balance: low }: ConfigFile['notify']): Config['notify'] =>
  url === null || secret === null ? null : { url, secret, lowBalancePico: low ?? null };

function toProvider(
  name: string,
  entry: ConfigFile['providers'][string],
  source: SourceDocument,
): ProviderConfig {
  const parsed = typeof entry.base_url === 'string' ? parseBaseUrl(entry.base_url) : undefined;
  const unset = source.unset.get(pathText(['providers', name, 'api_key']));
  return {
    name,
    type: entry.type ?? vendorType(name) ?? 'openai-compatible',
    baseUrl: parsed?.kind === 'ok' ? parsed.baseUrl : null,
    apiKey: credential(entry.api_key, unset),
    endpoints: entry.endpoints,
    asksUsage: entry.include_usage,
    timeouts: partOf(entry.timeouts ?? {}),
  };
}

function credential(value: string | null | undefined, unset: string | undefined): Credential {
  if (unset !== undefined) return { kind: 'unset', variable: unset };
  return value === null || value === undefined || value === ''
    ? { kind: 'absent' }
    : { kind: 'given', value };
}

const toPlan = (plan: ConfigFile['plans'][string]): PlanConfig => ({
  markupMillionths: plan.markup,
  mode: plan.mode,
  noCredit: plan.no_credit,
  onEmpty: plan.on_empty,
  autoTopUp: plan.auto_top_up,
});

const toPrice = (price: ConfigFile['prices'][string]): PriceOverride => ({
  input: price.input,
  output: price.output,
  cacheRead: price.cache_read,
  cacheWrite: price.cache_write,
  cacheWrite1h: price.cache_write_1h,
  image: price.image,
  second: price.second,
  markupMillionths: price.markup,
  character: price.character,
  webSearch: price.web_search,
});
