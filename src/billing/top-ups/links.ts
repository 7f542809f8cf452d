/**
 * Links by which a customer buys credit himself. A link is an address of the gateway's with the customer and an end in it,
 * signed; so it is made without asking anybody, in a refusal too. Whoever opens it is sent on to a checkout session of
 * Stripe's, made at that moment, or to the one that is still open.
 */
import { isCustomerId } from '../../customer-id.ts';
import type { Ledger } from '../../ledger/ledger.ts';
import type { TopUp } from '../../ledger/top-ups.ts';
import type { Crypto, Runtime } from '../../runtime.ts';
import { formatCents, parseCents } from '../../usage/money.ts';
import type { StripePayments } from './payments.ts';

export interface LinkSettings {
  /** This gateway as customers reach it; null: there are no links. */
  readonly base_url: string | null;
  /** Cents. */
  readonly amount: number;
  readonly amount_max: number;
  /** Where the customer comes out; null is a page of the gateway's. */
  readonly return_url: string | null;
}
export interface LinksOptions {
  readonly settings: LinkSettings;
  /** Signs the links. Whoever has it could make others pay for a customer, and nothing else. */
  readonly secret: string;
  readonly ledger: Pick<Ledger, 'openTopUp' | 'saveTopUp' | 'topUps'>;
  readonly payments: Pick<StripePayments, 'checkout'>;
  readonly crypto: Pick<Crypto, 'hmac' | 'equal'>;
  readonly runtime: Pick<Runtime, 'now' | 'id' | 'log'>;
}

export type Opened =
  | { readonly kind: 'open'; readonly url: string; readonly expiresAtMs: number }
  /** No link of ours; or past its end; or an amount that is not sold. */
  | { readonly kind: 'refused'; readonly status: 400 | 403 | 404 | 410 | 429; readonly message: string }
  | { readonly kind: 'unavailable'; readonly message: string };

export interface TopUpLinks {
  /** The link of a customer's for so long from now; null where there are none. */
  urlFor(customer: string): string | null;
  /** The customer of a link that holds. */
  verified(token: string): { readonly customer: string } | Extract<Opened, { kind: 'refused' }>;
  /** The checkout behind a link; `amount` as it was asked for. */
  open(token: string, amount: string | undefined): Promise<Opened>;
  /** The customer's checkout, for the operator. Null amount: what the settings say. */
  checkout(customer: string, cents: number | null): Promise<Opened>;
}

/** A refusal may lie in a log or a mail for a while. */
const LINK_MS = 604_800_000;
/** Stripe keeps a session for a day; it is left earlier, so that few are open. */
const SESSION_MS = 7_200_000;
/** An open one is given again while so much of it is left. */
const LEFT_MS_MIN = 600_000;
/** Sessions of one customer in an hour: whoever has a link may not use up the account's requests. */
const SESSIONS_MAX = 10;
const HOUR_MS = 3_600_000;
const CENTS_MIN = 50;
const TOKEN = /^([^.]+)\.([0-9a-z]{1,10})\.([0-9a-f]{64})$/;

export function createTopUpLinks(options: LinksOptions): TopUpLinks {
  const { settings, crypto, runtime, secret } = options;
  const opening = new Map<string, Promise<Opened>>();
  const sign = (customer: string, end: string): string =>
    crypto.hmac(secret, `faregate top-up link 1\n${customer}\n${end}`);
  const verified: TopUpLinks['verified'] = (token) => {
    const [, customer = '', end = '', mac = ''] = TOKEN.exec(token) ?? [];
    if (!isCustomerId(customer) || !crypto.equal(mac, sign(customer, end)))
      return { kind: 'refused', status: 403, message: 'This is no link of this gateway.' };
    if (Number.parseInt(end, 36) * 1_000 > runtime.now()) return { customer };
    return { kind: 'refused', status: 410, message: 'This link is too old. Ask for a new one.' };
  };
  /** Whoever opens a link twice at once gets one checkout. */
  const checkout: TopUpLinks['checkout'] = (customer, cents) => {
    if (settings.base_url === null && settings.return_url === null)
      return Promise.resolve({ kind: 'refused', status: 404, message: NO_WAY_BACK });
    const wanted = { customer, cents: cents ?? settings.amount };
    const name = `${customer} ${String(wanted.cents)}`;
    const running = opening.get(name) ?? checkoutOf(wanted, options).finally(() => opening.delete(name));
    opening.set(name, running);
    return running;
  };
  return {
    urlFor(customer) {
      if (settings.base_url === null) return null;
      const end = Math.floor((runtime.now() + LINK_MS) / 1_000).toString(36);
      return `${baseOf(settings.base_url)}/top-up/${customer}.${end}.${sign(customer, end)}`;
    },
    verified,
    async open(token, amount) {
      if (settings.base_url === null)
        return { kind: 'refused', status: 404, message: 'There are no links here.' };
      const link = verified(token);
      if ('kind' in link) return link;
      const cents = amount === undefined ? settings.amount : (parseCents(amount) ?? -1);
      if (cents >= CENTS_MIN && cents <= settings.amount_max) return checkout(link.customer, cents);
      const most = formatCents(settings.amount_max);
      const message = `amount must be in USD and whole cents, 0.50 to ${most}.`;
      return { kind: 'refused', status: 400, message };
    },
    checkout,
  };
}

async function checkoutOf(
  { customer, cents }: { customer: string; cents: number },
  { settings, ledger, payments, runtime }: LinksOptions,
): Promise<Opened> {
  const nowMs = runtime.now();
  const { data } = await ledger.topUps(customer, { limit: 100 });
  const links = data.filter(({ kind }) => kind === 'link');
  const open = links.find((one) => one.cents === cents && isOpen(one, nowMs));
  if (open?.url != null) return { kind: 'open', url: open.url, expiresAtMs: open.expiresAtMs ?? nowMs };
  const lately = links.filter(({ createdAtMs }) => createdAtMs > nowMs - HOUR_MS);
  if (lately.length >= SESSIONS_MAX)
    return { kind: 'refused', status: 429, message: 'Too many checkouts were opened. Try again in an hour.' };
  const id = `top_${runtime.id()}`;
  const made = { id, customer, kind: 'link', cents, createdAtMs: nowMs } as const;
  await ledger.openTopUp(made);
  const expiresAtMs = nowMs + SESSION_MS;
  const successUrl = settings.return_url ?? `${baseOf(settings.base_url ?? '')}/top-up/paid`;
  const topUp: TopUp = { ...FRESH, ...made, expiresAtMs, notBeforeMs: nowMs + FIRST_LOOK_MS };
  const page = { expiresAtS: Math.floor(expiresAtMs / 1_000), successUrl };
  const asked = await payments.checkout(topUp, page);
  if (asked.kind === 'done' && typeof asked.value.url === 'string') {
    await ledger.saveTopUp({ ...topUp, payment: asked.value.id, url: asked.value.url });
    return { kind: 'open', url: asked.value.url, expiresAtMs };
  }
  const message = asked.kind === 'done' ? 'Stripe gave no address.' : asked.message;
  runtime.log('warn', 'checkout_not_opened', { customer, top_up: id, error: message });
  if (asked.kind === 'refused') {
    const over = { state: 'failed', failure: asked.failure, endedAtMs: nowMs, notBeforeMs: null } as const;
    await ledger.saveTopUp({ ...topUp, ...over, lastError: message });
    return { kind: 'refused', status: 404, message: 'Stripe opens no checkout for this customer.' };
  }
  return { kind: 'unavailable', message: 'Stripe gave no answer. Try again shortly.' };
}

/** From the making of a session to the first look whether it was paid, should its webhook be lost. */
const FIRST_LOOK_MS = 30_000;

const FRESH = {
  state: 'waiting',
  paymentMethod: null,
  payment: null,
  url: null,
  creditGrant: null,
  attempts: 0,
  grantTries: 0,
  failure: null,
  lastError: null,
  paidAtMs: null,
  endedAtMs: null,
} as const;

const isOpen = ({ state, expiresAtMs }: TopUp, nowMs: number): boolean =>
  state === 'waiting' && expiresAtMs !== null && expiresAtMs - nowMs >= LEFT_MS_MIN;

const NO_WAY_BACK = 'The customer has nowhere to come out: set budget.top_up_link.base_url, or return_url.';

const baseOf = (url: string): string => url.replace(/\/+$/, '');

/** The reply to whoever opened the link. */
export function linkReply(opened: Opened): Response {
  const headers = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' };
  if (opened.kind === 'open')
    return new Response(null, { status: 303, headers: { ...headers, location: opened.url } });
  const status = opened.kind === 'refused' ? opened.status : 503;
  return textReply(status, opened.message);
}

export const paidReply = (): Response =>
  textReply(200, 'Thank you. Your credit is on its way; this page may be closed.');

const textReply = (status: number, text: string): Response =>
  new Response(`${text}\n`, {
    status,
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    },
  });
