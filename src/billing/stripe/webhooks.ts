/** Stripe's webhooks: verified over the raw body, turned into facts about customers, applied once. */
import { Stripe } from 'stripe';
import { LedgerUnavailable } from '../../ledger/ledger.ts';
import type { CustomerFact, Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import type { Customers } from './customers.ts';
import type { LateVerdicts } from '../delivery/late-verdicts.ts';
import type { StripeAccount } from '../ports.ts';
import { parseStripeEvent, UnreadableEvent } from './event.ts';
import type { StripeEvent } from './event.ts';
import type { Refresher } from './refresh.ts';
import { isCheckoutType, type ToppingUp } from '../top-ups/top-ups.ts';
import { factsOf, hintOf, newsOf } from './webhook-facts.ts';
import type { AlertPolicy } from './webhook-facts.ts';

export interface WebhooksOptions {
  /**
   * The endpoint's signing secret; several, with commas, where there are more endpoints: Stripe sends snapshots and thin
   * events from two, each with its own. While it is blank every webhook is refused.
   */
  readonly secret: string;
  readonly ledger: Pick<Ledger, 'apply'>;
  readonly account: Pick<StripeAccount, 'hasAvailableCredit'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  /** Told of deletions, so that no memory outlives them. */
  readonly customers?: Pick<Customers, 'deleted'> | undefined;
  readonly alerts: AlertPolicy;
  /** Fetches what thin events about meter events are about, and applies it; `ignored` for any other. */
  readonly verdicts?: LateVerdicts | undefined;
  /** Told of news about a customer's money, once it is recorded that he is to be read. */
  readonly refresher?: Pick<Refresher, 'told'> | undefined;
  /** Told of checkouts, by which customers buy credit. */
  readonly topUps?: Pick<ToppingUp, 'told'> | undefined;
}

export interface WebhookReply {
  /**
   * 200: applied, seen before, or not for us. 400: not from Stripe, or not readable. 500, 503: could not be applied now;
   * nothing was recorded, so Stripe's retry applies it.
   */
  readonly status: 200 | 400 | 500 | 503;
  readonly outcome: 'applied' | 'seen' | 'ignored' | 'refused' | 'failed';
  readonly message: string;
}

export interface Webhooks {
  /** `signature` is the `stripe-signature` header; null when it is absent or was sent more than once. */
  receive(rawBody: Uint8Array | string, signature: string | null | undefined): Promise<WebhookReply>;
  /** Applies an event that was read from Stripe itself. Rejects when it could not be applied now. */
  apply(text: string): Promise<WebhookReply>;
}

/** Stripe's largest events are a few hundred KB. */
export const WEBHOOK_BYTES_MAX = 1_048_576;
const HEADER_CHARS_MAX = 4_096;
/** Stripe's own tolerance; here for clocks ahead as well as behind. */
const TOLERANCE_S = 300;

export function createWebhooks(options: WebhooksOptions): Webhooks {
  const { secret, runtime } = options;
  return {
    async receive(rawBody, signature) {
      const why = await untrusted(rawBody, signature ?? '', { secret, nowMs: runtime.now() });
      if (why !== null) {
        runtime.log('warn', 'webhook_refused', { why });
        return { status: 400, outcome: 'refused', message: why };
      }
      try {
        const text = typeof rawBody === 'string' ? rawBody : new TextDecoder().decode(rawBody);
        return await applyEvent(parseStripeEvent(text), options);
      } catch (error) {
        return failed(error, runtime);
      }
    },
    apply: async (text) => applyEvent(parseStripeEvent(text), options),
  };
}

const bytesOf = (body: Uint8Array | string): number =>
  typeof body === 'string' ? new TextEncoder().encode(body).length : body.length;

/** Why the body is not to be believed; null when it is Stripe's. */
export async function untrusted(
  body: Uint8Array | string,
  header: string,
  { secret, nowMs }: { secret: string; nowMs: number },
): Promise<string | null> {
  const secrets = signingSecrets(secret);
  if (secrets.length === 0) return 'No signing secret is set: set STRIPE_WEBHOOK_SECRET.';
  if (bytesOf(body) > WEBHOOK_BYTES_MAX) return `The body is over ${String(WEBHOOK_BYTES_MAX)} bytes.`;
  if (header === '' || header.length > HEADER_CHARS_MAX)
    return 'The stripe-signature header is absent or too long.';
  const times = header.split(',').filter((part) => part.startsWith('t='));
  const time = /^t=(\d{1,12})$/.exec(times[0] ?? '')?.[1];
  if (times.length !== 1 || time === undefined) return 'The stripe-signature header has no single time.';
  // The SDK refuses only signatures that are too old.
  if (Math.abs(nowMs / 1000 - Number(time)) > TOLERANCE_S) {
    return `The signature's time is more than ${String(TOLERANCE_S)} s off this machine's clock.`;
  }
  let why = '';
  for (const one of secrets) {
    const mismatch = await mismatchOf(body, header, { secret: one, nowMs });
    if (mismatch === null) return null;
    why = mismatch;
  }
  return why;
}

/** Each of the secrets that a setting holds. */
const signingSecrets = (setting: string): readonly string[] =>
  setting.split(/[\s,]+/).filter((secret) => secret !== '');

async function mismatchOf(
  body: Uint8Array | string,
  header: string,
  { secret, nowMs }: { secret: string; nowMs: number },
): Promise<string | null> {
  try {
    const { signature } = Stripe.webhooks;
    if (signature === null) return 'The Stripe package cannot verify signatures here.';
    await signature.verifyHeaderAsync(body, header, secret, TOLERANCE_S, undefined, nowMs);
    return null;
  } catch (error) {
    const text = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    return `The signature does not match: is STRIPE_WEBHOOK_SECRET this endpoint's? (${text.trim()})`;
  }
}

async function applyEvent(event: StripeEvent, options: WebhooksOptions): Promise<WebhookReply> {
  const { ledger, account, runtime, customers, alerts } = options;
  const fields = { event: event.id, type: event.type };
  if (event.kind === 'thin') {
    runtime.log('info', 'webhook_thin', fields);
    const told = (await options.verdicts?.learn(event.id, event.type)) ?? 'ignored';
    const message = told === 'ignored' ? 'Thin events of this type are not applied.' : 'A late verdict.';
    return { status: 200, outcome: told, message };
  }
  if (isCheckoutType(event.type)) await options.topUps?.told(event.type, event.object);
  const facts = await factsOf(event, { account, alerts, nowS: runtime.now() / 1_000 });
  const receipt = {
    eventId: event.id,
    type: event.type,
    createdS: event.createdS,
    receivedAtMs: runtime.now(),
    reading: newsOf(event),
  };
  const outcome = await ledger.apply(receipt, facts);
  for (const fact of facts) if (fact.kind === 'deleted') customers?.deleted(fact.customer);
  if (receipt.reading !== undefined && outcome === 'applied')
    options.refresher?.told(receipt.reading, hintOf(event));
  runtime.log('info', 'webhook_applied', { ...fields, outcome, facts: facts.map(nameOf).join(', ') });
  return { status: 200, outcome, message: `${String(facts.length)} facts` };
}

const nameOf = (fact: CustomerFact): string => `${fact.kind} ${fact.customer}`;

function failed(error: unknown, runtime: Pick<Runtime, 'log'>): WebhookReply {
  const message = error instanceof Error ? error.message : String(error);
  runtime.log('error', 'webhook_failed', { error: message });
  if (error instanceof UnreadableEvent) return { status: 400, outcome: 'refused', message };
  return { status: error instanceof LedgerUnavailable ? 503 : 500, outcome: 'failed', message };
}
