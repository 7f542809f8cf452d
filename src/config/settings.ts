/** The environment and the file as one value: what the entries wire the product from. */
import { type Env } from './document.ts';
import {
  type DatabaseAddress,
  type ReadFile,
  type StripeSettings,
  type VendorEnvironment,
  readEnvironment,
  resolveVariables,
} from './environment.ts';
import { type Config, type ProviderConfig, type ProviderType, type Timeouts, parseConfig } from './file.ts';
import { type Problem, unplaced } from './problem.ts';
import { presetOf } from '../../providers/presets.ts';
import { referencedVariables } from './substitute.ts';

/** An upstream that is on. */
export interface ConfiguredUpstream {
  readonly name: string;
  readonly type: ProviderType;
  /** No trailing slash. */
  readonly baseUrl: string;
  /** Null where the upstream asks for none. */
  readonly apiKey: string | null;
  /** False where `include_usage: false` says that the upstream refuses to be asked. */
  readonly asksUsage: boolean;
  /** Undefined: every endpoint of the type. */
  readonly endpoints: readonly string[] | undefined;
  readonly timeouts: Timeouts;
}

export interface Settings extends Omit<Config, 'providers'> {
  readonly host: string;
  readonly port: number;
  /** The file that was read; null when there is none. */
  readonly configPath: string | null;
  readonly database: DatabaseAddress;
  readonly serviceKey: string | null;
  readonly adminKey: string | null;
  readonly stripe: StripeSettings;
  readonly upstreams: readonly ConfiguredUpstream[];
}

export type SettingsResult =
  | { readonly kind: 'ok'; readonly settings: Settings; readonly warnings: readonly Problem[] }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[]; readonly configPath: string | null };

/** `check` and the commands that read the ledger need less than a gateway that is to serve. */
export type Purpose = 'start' | 'dev' | 'read';

export interface SettingsSources {
  readonly env: Env;
  readonly readFile: ReadFile;
  /** A path that goes before `FAREGATE_CONFIG`. */
  readonly configPath?: string | undefined;
}

const DEFAULT_CONFIG = './faregate.yaml';
const VENDOR_URLS: Readonly<Partial<Record<ProviderType, string>>> = {
  openai: 'https://api.openai.com/v1',
  anthropic: 'https://api.anthropic.com',
  google: 'https://generativelanguage.googleapis.com',
};
const VENDORS = ['openai', 'anthropic', 'google'] as const;

export function settingsFor(purpose: Purpose, sources: SettingsSources): SettingsResult {
  const { environment, ...env } = readEnvironment(sources.env, sources.readFile);
  const file = readConfig(sources);
  const keys = presetKeys(file.config?.providers ?? [], sources);
  const merged = mergeUpstreams(file.config?.providers ?? [], environment.vendors, keys.env);
  const problems = [
    ...env.problems,
    ...file.problems,
    ...keys.problems,
    ...stripeProblems(purpose, environment.stripe, env.problems),
    ...databaseProblems(purpose, environment.database),
    // Of a file that could not be read it is not known which providers it has.
    ...(file.config === undefined ? [] : providerProblems(purpose, merged)),
  ];
  if (file.config === undefined || problems.length > 0) {
    return { kind: 'invalid', problems, configPath: file.path };
  }
  const { configPath: _named, vendors: _merged, ...rest } = environment;
  const { providers: ownOf, ...config } = file.config;
  const aliases = openAliases(config.aliases, merged.upstreams, purpose);
  const settings: Settings = {
    ...rest,
    ...config,
    configPath: file.path,
    upstreams: merged.upstreams.map((upstream) => ({
      ...upstream,
      timeouts: { ...config.timeouts, ...ownOf.find(({ name }) => name === upstream.name)?.timeouts },
    })),
    aliases: aliases.aliases,
  };
  const warnings = [...env.warnings, ...file.warnings, ...merged.warnings, ...aliases.warnings];
  if (purpose === 'start' && settings.stripe.webhookSecret === null) {
    warnings.push(
      unplaced(
        'STRIPE_WEBHOOK_SECRET',
        'is not set: every webhook is answered 400, so no alert of Stripe stops anyone',
      ),
    );
  }
  return { kind: 'ok', settings, warnings };
}

/** The keys that presets without one in the file take from the environment. */
function presetKeys(
  providers: readonly ProviderConfig[],
  { env, readFile }: SettingsSources,
): ReturnType<typeof resolveVariables> {
  const names = providers.flatMap(({ type, apiKey }) => {
    const variable = presetOf(type)?.keyVariable ?? null;
    return apiKey.kind === 'absent' && variable !== null ? [variable] : [];
  });
  return resolveVariables(env, { names: [...new Set(names)], readFile });
}

interface ReadConfig {
  readonly path: string | null;
  readonly config: Config | undefined;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

function readConfig({ env, readFile, configPath }: SettingsSources): ReadConfig {
  const named =
    configPath ?? resolveVariables(env, { names: ['FAREGATE_CONFIG'], readFile }).env['FAREGATE_CONFIG'];
  const path = named ?? DEFAULT_CONFIG;
  const failed = (message: string): ReadConfig => ({
    path: null,
    config: undefined,
    problems: [unplaced(configPath === undefined ? 'FAREGATE_CONFIG' : '--config', message)],
    warnings: [],
  });
  let text: string | undefined;
  try {
    text = readFile(path);
  } catch (error) {
    return failed(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (text === undefined && named !== undefined) return failed(`there is no file ${path}`);
  const names = referencedVariables(text ?? '');
  const resolved = resolveVariables(env, { names, readFile });
  const parsed = parseConfig(text ?? '', { env: resolved.env });
  // A vendor's own variable is also read as part of the environment, and its problem is said there.
  const own = resolved.problems.filter(
    ({ path: name }) => !/^(OPENAI|ANTHROPIC|GEMINI|GOOGLE|STRIPE|FAREGATE)_/.test(name),
  );
  return {
    path: text === undefined ? null : path,
    config: parsed.kind === 'ok' ? parsed.config : undefined,
    problems: [...own, ...(parsed.kind === 'invalid' ? parsed.problems : [])],
    warnings: parsed.kind === 'ok' ? parsed.warnings : [],
  };
}

type UpstreamAddress = Omit<ConfiguredUpstream, 'timeouts'>;

interface Merged {
  readonly upstreams: readonly UpstreamAddress[];
  readonly warnings: readonly Problem[];
}

/** The file's providers, each on or off, then the vendors that only the environment turns on. */
function mergeUpstreams(
  providers: readonly ProviderConfig[],
  vendors: Readonly<Record<(typeof VENDORS)[number], VendorEnvironment>>,
  env: Env,
): Merged {
  const upstreams: UpstreamAddress[] = [];
  const warnings: Problem[] = [];
  const implied = VENDORS.filter((name) => !providers.some((provider) => provider.name === name)).map(
    (name): ProviderConfig => ({
      name,
      type: name,
      baseUrl: null,
      apiKey: { kind: 'absent' },
      endpoints: undefined,
      asksUsage: true,
      timeouts: {},
    }),
  );
  for (const provider of [...providers, ...implied]) {
    const vendor = isVendor(provider.name) ? vendors[provider.name] : { apiKey: null, baseUrl: null };
    const result = upstreamOf(provider, vendor, env);
    if (typeof result !== 'string') upstreams.push(result);
    else if (providers.includes(provider)) warnings.push(unplaced(`providers.${provider.name}`, result));
  }
  return { upstreams, warnings };
}

const isVendor = (name: string): name is (typeof VENDORS)[number] =>
  VENDORS.some((vendor) => vendor === name);

/** The upstream, or why it is off. What the file says goes before the environment. */
function upstreamOf(provider: ProviderConfig, vendor: VendorEnvironment, env: Env): UpstreamAddress | string {
  const { name, type, apiKey, endpoints, asksUsage } = provider;
  if (apiKey.kind === 'unset') return `is off: ${apiKey.variable} is not set`;
  const preset = presetOf(type);
  const variable = preset?.keyVariable ?? null;
  const key = apiKey.kind === 'given' ? apiKey.value : (vendor.apiKey ?? env[variable ?? ''] ?? null);
  // An address of the operator's own may ask for no key (a model server on the same machine); a vendor always does.
  const needsKey = preset === undefined ? provider.baseUrl === null : variable !== null;
  if (key === null && needsKey)
    return `is off: it has no api_key${variable === null ? '' : `, and ${variable} is not set`}`;
  const baseUrl = provider.baseUrl ?? vendor.baseUrl ?? preset?.baseUrl ?? VENDOR_URLS[type] ?? null;
  if (baseUrl === null) return 'is off: it has no base_url';
  return { name, type, baseUrl, apiKey: key, asksUsage: asksUsage && preset?.asksUsage !== false, endpoints };
}

/** Targets at providers that are off are left out; an alias without any target left is no alias. */
function openAliases(
  aliases: ReadonlyMap<string, readonly string[]>,
  upstreams: readonly UpstreamAddress[],
  purpose: Purpose,
): { readonly aliases: ReadonlyMap<string, readonly string[]>; readonly warnings: readonly Problem[] } {
  const on = new Set(upstreams.map((upstream) => upstream.name));
  if (purpose === 'dev') on.add('demo');
  const open = new Map<string, readonly string[]>();
  const warnings: Problem[] = [];
  for (const [alias, targets] of aliases) {
    const left = targets.filter((target) => on.has(target.slice(0, target.indexOf('/'))));
    if (left.length > 0) open.set(alias, left);
    if (left.length < targets.length) {
      const off = targets.filter((target) => !left.includes(target)).join(', ');
      warnings.push(
        unplaced(
          `models.${alias}`,
          `${left.length === 0 ? 'is off' : 'goes without'} ${off}: the provider is off`,
        ),
      );
    }
  }
  return { aliases: open, warnings };
}

function stripeProblems(
  purpose: Purpose,
  { secretKey }: StripeSettings,
  said: readonly Problem[],
): readonly Problem[] {
  if (purpose === 'dev' && secretKey !== null && /^[sr]k_live_/.test(secretKey)) {
    return [
      unplaced(
        'STRIPE_SECRET_KEY',
        'is a live key; the sandbox never touches real money: unset it, or use "faregate start"',
      ),
    ];
  }
  const known = said.some(({ path }) => path.startsWith('STRIPE_SECRET_KEY'));
  if (purpose !== 'start' || secretKey !== null || known) return [];
  return [
    unplaced(
      'STRIPE_SECRET_KEY',
      'is required: a restricted key (rk_…) that may write meter events and read customers suffices',
    ),
  ];
}

const databaseProblems = (purpose: Purpose, { kind }: DatabaseAddress): readonly Problem[] =>
  purpose === 'read' || kind === 'sqlite'
    ? []
    : [unplaced('DATABASE_URL', 'only sqlite: ledgers are served by this version')];

const providerProblems = (purpose: Purpose, { upstreams, warnings }: Merged): readonly Problem[] =>
  purpose !== 'start' || upstreams.length > 0
    ? []
    : [
        unplaced(
          'providers',
          'none is on: set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or configure one in faregate.yaml',
        ),
        ...warnings,
      ];
