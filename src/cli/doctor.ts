/** `faregate doctor`: asks everything the gateway depends on, and says of each whether it is well, or what to do. Changes nothing. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Stripe } from 'stripe';
import { PROVIDERS } from '../../providers/index.ts';
import { meterWarnings } from '../billing/delivery/meter-check.ts';
import { createStripeClient } from '../billing/stripe/client.ts';
import { dateOf } from '../billing/delivery/outcome.ts';
import type { ConfiguredUpstream, Settings } from '../config.ts';
import { type CommonOptions, EXIT, addConfiguredCommand, loadSettings, say } from './command.ts';

/** One line: what was looked at, how it is, and the fix where it is not well. */
export interface Finding {
  readonly check: string;
  /** `warning`: works, but look at it. `wrong`: set up wrongly. `unreachable`: no answer, or not authorised. */
  readonly state: 'ok' | 'warning' | 'wrong' | 'unreachable';
  readonly message: string;
  readonly fix: string | null;
}

const ASK_MS = 8_000;
/** Stripe refuses webhook signatures, and we its, from 300 s on. */
const SKEW_WARNING_MS = 5_000;
const SKEW_WRONG_MS = 60_000;

export function registerDoctor(program: Command): void {
  addConfiguredCommand(
    program,
    'doctor',
    'is everything it depends on reachable and rightly set up? changes nothing',
  )
    .addHelpText(
      'after',
      '\nExits 0 when all is well, 1 on a problem, 3 on the configuration, 4 on network or keys.',
    )
    .action(doctor);
}

async function doctor(options: CommonOptions): Promise<void> {
  const settings = loadSettings('start', options);
  const findings = await examine(settings);
  const exitCode = exitCodeFor(findings);
  say(options, { ok: exitCode === EXIT.ok, exit_code: exitCode, findings }, () => findings.map(lineOf));
  process.exitCode = exitCode;
}

/** Everything at once: 8 s at the longest for each. Never rejects. */
export async function examine(settings: Settings): Promise<readonly Finding[]> {
  const found = await Promise.all([
    ledgerFindings(settings),
    stripeFindings(settings),
    ...settings.upstreams.map(upstreamFinding),
  ]);
  const config = ok('configuration', settings.configPath ?? 'the defaults and the environment');
  return [config, ...found.flat()];
}

const exitCodeFor = (findings: readonly Finding[]): number => {
  if (findings.some(({ state }) => state === 'unreachable')) return EXIT.network;
  return findings.some(({ state }) => state === 'wrong') ? EXIT.problem : EXIT.ok;
};

const lineOf = ({ check, state, message, fix }: Finding): string =>
  `${state.padEnd(11)}  ${check}: ${message}${fix === null ? '' : ` To do: ${fix}`}`;

const ok = (check: string, message: string): Finding => ({ check, state: 'ok', message, fix: null });

function ledgerFindings({ database }: Settings): readonly Finding[] {
  const check = 'ledger';
  if (database.kind !== 'sqlite')
    return [
      {
        check,
        state: 'wrong',
        message: 'this version keeps it in SQLite.',
        fix: 'Set DATABASE_URL to sqlite:<path>.',
      },
    ];
  const path = resolve(database.path);
  let directory = dirname(path);
  while (!existsSync(directory)) directory = dirname(directory);
  try {
    if (!statSync(directory).isDirectory()) throw new Error(`${directory} is no directory`);
    accessSync(directory, constants.W_OK);
    if (existsSync(path)) accessSync(path, constants.R_OK | constants.W_OK);
    return [ok(check, `${path} ${existsSync(path) ? 'can be written' : 'can be made'}`)];
  } catch (error) {
    const fix = `Let this user write ${existsSync(path) ? path : directory}, and its directory, or set DATABASE_URL.`;
    return [{ check, state: 'wrong', message: `${path} cannot be written (${textOf(error)}).`, fix }];
  }
}

async function stripeFindings(settings: Settings): Promise<readonly Finding[]> {
  const { secretKey, apiBase, webhookSecret } = settings.stripe;
  if (secretKey === null)
    return [
      { check: 'stripe key', state: 'wrong', message: 'there is none.', fix: 'Set STRIPE_SECRET_KEY.' },
    ];
  const stripe = createStripeClient({ secretKey, apiBase: apiBase ?? undefined });
  const [key, skew] = await keyFindings(stripe);
  if (key.state !== 'ok') return [key];
  const found = await Promise.all([
    ...PERMISSIONS.map((one) => permission(one, stripe)),
    meterFindings(stripe, settings),
    webhookFindings(stripe, webhookSecret),
  ]);
  return [key, ...skew, ...found.flat()];
}

const ASKING = { timeout: ASK_MS, maxNetworkRetries: 0 } as const;

async function keyFindings(stripe: Stripe): Promise<readonly [Finding, readonly Finding[]]> {
  const check = 'stripe key';
  try {
    const startedMs = Date.now();
    const answer = await stripe.billing.meters.list({ limit: 1 }, ASKING);
    const skew = skewFinding(dateOf(answer), (startedMs + Date.now()) / 2);
    return [ok(check, 'Stripe takes it'), skew];
  } catch (error) {
    const status = statusOf(error);
    if (status === 403) return [ok(check, 'Stripe takes it'), []];
    const fix =
      status === 401
        ? 'Set STRIPE_SECRET_KEY to a key of this account that is not revoked.'
        : 'Let this machine reach api.stripe.com by HTTPS; look at STRIPE_API_BASE and status.stripe.com.';
    return [{ check, state: 'unreachable', message: textOf(error), fix }, []];
  }
}

function skewFinding(date: string | undefined, nowMs: number): readonly Finding[] {
  const stripeMs = Date.parse(date ?? '');
  if (Number.isNaN(stripeMs)) return [];
  // The header has whole seconds.
  const skewMs = Math.max(0, Math.abs(nowMs - stripeMs - 500) - 500);
  const message = `${String(Math.round(skewMs / 1000))} s off Stripe's`;
  if (skewMs < SKEW_WARNING_MS) return [ok('clock', message)];
  const state = skewMs < SKEW_WRONG_MS ? 'warning' : 'wrong';
  return [{ check: 'clock', state, message: `${message}.`, fix: 'Set it by NTP.' }];
}

export interface Permission {
  readonly name: string;
  ask(stripe: Stripe): Promise<unknown>;
}

/** What a restricted key must be allowed, each asked without changing anything; a session of the stream ends by itself. */
export const PERMISSIONS: readonly Permission[] = [
  { name: 'Billing meters: read', ask: (stripe) => stripe.billing.meters.list({ limit: 1 }, ASKING) },
  { name: 'Meter events: write', ask: (stripe) => stripe.v2.billing.meterEventSession.create({}, ASKING) },
  { name: 'Customers: read', ask: (stripe) => stripe.customers.list({ limit: 1 }, ASKING) },
  { name: 'Events: read', ask: (stripe) => stripe.events.list({ limit: 1 }, ASKING) },
];

async function permission({ name, ask }: Permission, stripe: Stripe): Promise<readonly Finding[]> {
  const check = `stripe permission "${name}"`;
  try {
    await ask(stripe);
    return [ok(check, 'given')];
  } catch (error) {
    const status = statusOf(error);
    const fix = `Give the restricted key "${name}" in Stripe's dashboard (Developers, API keys).`;
    if (status === 401 || status === 403)
      return [{ check, state: 'unreachable', message: textOf(error), fix }];
    const other = 'Ask again; without v2 in this account set billing.transport to v1.';
    return [{ check, state: 'warning', message: textOf(error), fix: other }];
  }
}

async function meterFindings(stripe: Stripe, { billing }: Settings): Promise<readonly Finding[]> {
  const check = 'meters';
  try {
    const classes = [...billing.priceClasses.keys()];
    const warnings = await meterWarnings({ ...billing, stripe, classes });
    if (warnings.length === 0) return [ok(check, 'every event name has an active meter')];
    return warnings.map((message) => ({ check, state: 'wrong', message, fix: null }));
  } catch (error) {
    const fix = 'Give the key "Billing meters: read".';
    return [{ check, state: 'unreachable', message: textOf(error), fix }];
  }
}

export async function webhookFindings(stripe: Stripe, secret: string | null): Promise<readonly Finding[]> {
  const check = 'webhook';
  if (secret === null)
    return [
      {
        check,
        state: 'wrong',
        message: "no signing secret is set: every webhook of Stripe's is refused.",
        fix: 'Set STRIPE_WEBHOOK_SECRET to the secret of the endpoint https://…/webhooks/stripe.',
      },
    ];
  const message = 'no endpoint of the account has a path that ends in /webhooks/stripe.';
  const fix = "Make one in Stripe's dashboard (Developers, Webhooks).";
  try {
    const { data } = await stripe.webhookEndpoints.list({ limit: 100 }, ASKING);
    const isThere = data.some(({ url, status }) => status === 'enabled' && url.endsWith('/webhooks/stripe'));
    return [isThere ? ok(check, 'secret and endpoint are there') : { check, state: 'warning', message, fix }];
  } catch {
    return [ok(check, 'the secret is set; the key may not list the endpoints')];
  }
}

async function upstreamFinding(upstream: ConfiguredUpstream): Promise<readonly Finding[]> {
  const check = `provider ${upstream.name}`;
  const provider = PROVIDERS.get(upstream.type);
  if (provider === undefined)
    return [{ check, state: 'wrong', message: `unknown type ${upstream.type}.`, fix: 'Correct providers.' }];
  const unreachable = (message: string, fix: string): readonly Finding[] => [
    { check, state: 'unreachable', message, fix },
  ];
  try {
    const { url, method, headers } = provider.listModels(upstream);
    const response = await fetch(url, { method, headers, signal: AbortSignal.timeout(ASK_MS) });
    await response.body?.cancel();
    const status = String(response.status);
    if (response.ok) return [ok(check, `lists its models at ${upstream.baseUrl}`)];
    if (response.status === 401 || response.status === 403)
      return unreachable(
        `answers ${status}: the key is refused.`,
        `Set the key of ${upstream.name} to one that is valid.`,
      );
    if (response.status === 404 || response.status === 405)
      return [ok(check, `answers at ${upstream.baseUrl}, has no list of models; the key is untried`)];
    return unreachable(
      `answers ${status} to a list of its models.`,
      `Look at base_url (${upstream.baseUrl}) and its status page.`,
    );
  } catch (error) {
    return unreachable(
      `does not answer: ${textOf(error)}.`,
      `Look at base_url (${upstream.baseUrl}) and this machine's network.`,
    );
  }
}

function statusOf(error: unknown): number | undefined {
  const status =
    typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : undefined;
  return typeof status === 'number' ? status : undefined;
}

/** The innermost cause says most. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? textOf(error.cause) : (error.message.split('\n')[0] ?? '');
}
