/** The environment variables: read once, checked all at once. What is wrong is said without a value that may be a secret. */
import { parseBaseUrl } from './base-url.ts';
import type { Env } from './document.ts';
import { type Problem, didYouMean, unplaced } from './problem.ts';

/** The text of a file; undefined when there is none. Throws when it cannot be read. */
export type ReadFile = (path: string) => string | undefined;

export type DatabaseAddress =
  { readonly kind: 'sqlite'; readonly path: string } | { readonly kind: 'postgres'; readonly url: string };

export interface VendorEnvironment {
  readonly apiKey: string | null;
  /** No trailing slash. */
  readonly baseUrl: string | null;
}

export interface StripeSettings {
  readonly secretKey: string | null;
  readonly webhookSecret: string | null;
  /** Scheme, host and port; null for Stripe's own. */
  readonly apiBase: string | null;
}

export interface Environment {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Null: `./faregate.yaml`, if there is one. */
  readonly configPath: string | null;
  readonly database: DatabaseAddress;
  readonly serviceKey: string | null;
  readonly adminKey: string | null;
  readonly stripe: StripeSettings;
  readonly vendors: Readonly<Record<'openai' | 'anthropic' | 'google', VendorEnvironment>>;
}

export type ParsedEnvironment =
  | { readonly kind: 'ok'; readonly environment: Environment; readonly warnings: readonly Problem[] }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] };

const VARIABLES = [
  'HOST',
  'PORT',
  'FAREGATE_CONFIG',
  'DATABASE_URL',
  'FAREGATE_SERVICE_KEY',
  'FAREGATE_ADMIN_KEY',
  'STRIPE_SECRET_KEY',
  'STRIPE_WEBHOOK_SECRET',
  'STRIPE_API_BASE',
  'OPENAI_API_KEY',
  'ANTHROPIC_API_KEY',
  'GEMINI_API_KEY',
  'GOOGLE_API_KEY',
  'OPENAI_BASE_URL',
  'ANTHROPIC_BASE_URL',
  'GEMINI_BASE_URL',
] as const;
type Variable = (typeof VARIABLES)[number];

/** 32 characters of a random key are at least 128 bits in any usual alphabet: past guessing. */
const OWN_KEY_CHARS_MIN = 32;
/** Longer than any key; also the most that is ever hashed of a caller's credential. */
export const OWN_KEY_CHARS_MAX = 512;

/** What the readers of single variables share. */
interface Reading {
  value(name: Variable): string | null;
  problem(name: string, message: string): void;
  warn(name: string, message: string): void;
}

export function parseEnvironment(env: Env, readFile: ReadFile): ParsedEnvironment {
  const { environment, problems, warnings } = readEnvironment(env, readFile);
  return problems.length > 0 ? { kind: 'invalid', problems } : { kind: 'ok', environment, warnings };
}

/** With problems, the environment has stand-ins where values were wrong: only good for finding more problems. */
export function readEnvironment(
  env: Env,
  readFile: ReadFile,
): {
  readonly environment: Environment;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
} {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const resolved = resolveVariables(env, { names: VARIABLES, readFile });
  problems.push(...resolved.problems);
  const reading: Reading = {
    value: (name) => resolved.env[name] ?? null,
    problem: (name, message) => problems.push(unplaced(name, message)),
    warn: (name, message) => warnings.push(unplaced(name, message)),
  };
  const environment: Environment = {
    host: host(reading),
    port: port(reading),
    configPath: reading.value('FAREGATE_CONFIG'),
    database: database(reading),
    ...ownKeys(reading),
    stripe: stripe(reading),
    vendors: {
      openai: { apiKey: reading.value('OPENAI_API_KEY'), baseUrl: baseUrl(reading, 'OPENAI_BASE_URL') },
      anthropic: {
        apiKey: reading.value('ANTHROPIC_API_KEY'),
        baseUrl: baseUrl(reading, 'ANTHROPIC_BASE_URL'),
      },
      google: { apiKey: geminiKey(reading), baseUrl: baseUrl(reading, 'GEMINI_BASE_URL') },
    },
  };
  warnUnknown(env, reading);
  return { environment, problems, warnings };
}

/**
 * The named variables, each from itself or from the file its `_FILE` variant names. Space around a value is dropped: a
 * file ends with a line break, and no value here may begin or end with space. An empty value is as good as none.
 */
export function resolveVariables(
  env: Env,
  { names, readFile }: { readonly names: readonly string[]; readonly readFile: ReadFile },
): { readonly env: Env; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const resolved: Record<string, string> = {};
  const report = (path: string, message: string): void => {
    problems.push(unplaced(path, message));
  };
  for (const name of names) {
    const direct = (env[name] ?? '').trim();
    const file = (env[`${name}_FILE`] ?? '').trim();
    if (direct !== '') resolved[name] = direct;
    if (file === '') continue;
    if (direct !== '') report(name, `both ${name} and ${name}_FILE are set; keep one`);
    const text = readValue(file, readFile);
    if (text.kind === 'ok') resolved[name] ??= text.value;
    else report(`${name}_FILE`, text.message);
  }
  return { env: resolved, problems };
}

function readValue(
  path: string,
  readFile: ReadFile,
): { readonly kind: 'ok'; readonly value: string } | { readonly kind: 'bad'; readonly message: string } {
  try {
    const value = readFile(path)?.trim();
    // The path is not said: it may be the secret itself, given where its file's name belongs.
    if (value === undefined) return { kind: 'bad', message: 'must name a file; there is none of that name' };
    return value === '' ? { kind: 'bad', message: `the file ${path} is empty` } : { kind: 'ok', value };
  } catch (error) {
    return {
      kind: 'bad',
      message: `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

function host(reading: Reading): string {
  const value = reading.value('HOST') ?? '127.0.0.1';
  if (!/^[\w.:%[\]-]+$/.test(value))
    reading.problem('HOST', 'must be a host name or an address, without scheme or port');
  return value;
}

function port(reading: Reading): number {
  const value = reading.value('PORT') ?? '8402';
  const number = /^\d{1,5}$/.test(value) ? Number(value) : NaN;
  if (number <= 65_535) return number;
  // A number is no secret; any other text may be one that was put in the wrong place.
  const said = /^[-+]?[\d.]{1,20}$/.test(value) ? `, not "${value}"` : '';
  reading.problem('PORT', `must be a whole number from 0 to 65535${said}`);
  return 0;
}

function database(reading: Reading): DatabaseAddress {
  const value = reading.value('DATABASE_URL') ?? 'sqlite:./.faregate/faregate.db';
  if (/^postgres(ql)?:\/\//.test(value) && URL.canParse(value)) return { kind: 'postgres', url: value };
  const path = value.startsWith('sqlite:') ? value.slice('sqlite:'.length).replace(/^\/\/(?=\/|\.)/, '') : '';
  if (path.startsWith(':memory:')) {
    reading.problem('DATABASE_URL', 'must name a file: a ledger in memory would lose what is owed');
  } else if (path === '' || path.startsWith('//')) {
    reading.problem(
      'DATABASE_URL',
      'must be sqlite:<path>, such as sqlite:./.faregate/faregate.db, or postgres://<user>@<host>/<name>',
    );
  }
  return { kind: 'sqlite', path };
}

function ownKeys(reading: Reading): Pick<Environment, 'serviceKey' | 'adminKey'> {
  const serviceKey = ownKey(reading, 'FAREGATE_SERVICE_KEY');
  const adminKey = ownKey(reading, 'FAREGATE_ADMIN_KEY');
  if (serviceKey !== null && serviceKey === adminKey) {
    reading.problem(
      'FAREGATE_ADMIN_KEY',
      'is the same as FAREGATE_SERVICE_KEY; an admin key never calls models, give it a value of its own',
    );
  }
  return { serviceKey, adminKey };
}

function ownKey(reading: Reading, name: 'FAREGATE_SERVICE_KEY' | 'FAREGATE_ADMIN_KEY'): string | null {
  const value = reading.value(name);
  if (value === null) return null;
  if (value.length < OWN_KEY_CHARS_MIN && name === 'FAREGATE_SERVICE_KEY') {
    reading.problem(
      name,
      `must have ${String(OWN_KEY_CHARS_MIN)} characters or more, this has ${String(value.length)}; "openssl rand -hex 32" makes one`,
    );
  } else if (value.length < OWN_KEY_CHARS_MIN) {
    reading.warn(
      name,
      `has only ${String(value.length)} characters; "openssl rand -hex 32" makes one that cannot be guessed`,
    );
  }
  if (value.length > OWN_KEY_CHARS_MAX)
    reading.problem(name, `must have ${String(OWN_KEY_CHARS_MAX)} characters at most`);
  if (!/^[\x21-\x7e]+$/.test(value))
    reading.problem(name, 'must be printable ASCII without spaces, to fit in a header');
  // To whoever reads a header a comma is the end of one value and the beginning of the next: a caller with such a key is refused.
  if (name === 'FAREGATE_SERVICE_KEY' && value.includes(',')) reading.problem(name, 'must hold no comma');
  return value;
}

function stripe(reading: Reading): StripeSettings {
  const secretKey = reading.value('STRIPE_SECRET_KEY');
  const apiBase = baseUrl(reading, 'STRIPE_API_BASE');
  if (secretKey !== null && !/^[sr]k_[\w-]+$/.test(secretKey)) {
    reading.problem(
      'STRIPE_SECRET_KEY',
      `must begin with sk_ or rk_${secretKey.startsWith('pk_') ? '; this is a publishable key' : ''}`,
    );
  }
  if (apiBase !== null && apiBase.replace(/^https?:\/\//, '').includes('/')) {
    reading.problem('STRIPE_API_BASE', 'must be scheme, host and port only, such as http://127.0.0.1:12111');
  }
  const webhookSecret = reading.value('STRIPE_WEBHOOK_SECRET');
  if (webhookSecret?.split(/[\s,]+/).some((one) => one !== '' && !one.startsWith('whsec_')) === true) {
    reading.warn('STRIPE_WEBHOOK_SECRET', "does not begin with whsec_: is it the endpoint's signing secret?");
  }
  return { secretKey, webhookSecret, apiBase };
}

function baseUrl(reading: Reading, name: Variable): string | null {
  const value = reading.value(name);
  if (value === null) return null;
  const parsed = parseBaseUrl(value);
  if (parsed.kind === 'ok') return parsed.baseUrl;
  reading.problem(name, parsed.message);
  return null;
}

function geminiKey(reading: Reading): string | null {
  const gemini = reading.value('GEMINI_API_KEY');
  const google = reading.value('GOOGLE_API_KEY');
  if (gemini !== null && google !== null && gemini !== google) {
    reading.warn('GOOGLE_API_KEY', 'differs from GEMINI_API_KEY, which is used');
  }
  return gemini ?? google;
}

function warnUnknown(env: Env, reading: Reading): void {
  const own = VARIABLES.filter((name) => name.startsWith('FAREGATE_'));
  const known = new Set(own.flatMap((name) => [name, `${name}_FILE`]));
  for (const name of Object.keys(env)) {
    if (name.startsWith('FAREGATE_') && !known.has(name)) {
      reading.warn(name, `is no variable of Faregate${didYouMean(name, known)}`);
    }
  }
}
