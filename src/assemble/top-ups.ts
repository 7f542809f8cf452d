/** Puts together what credit is bought by: charges, checkouts, links, and their routes. */
import type { Hono } from 'hono';
import type { Stripe } from 'stripe';
import { createTopUpRoutes } from '../admin/top-ups.ts';
import type { Refresher } from '../billing/stripe/refresh.ts';
import { createStripePayments } from '../billing/top-ups/payments.ts';
import { createTopUpLinks, type TopUpLinks } from '../billing/top-ups/links.ts';
import { createToppingUp, type ToppingUp } from '../billing/top-ups/top-ups.ts';
import type { Settings } from '../config.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Crypto, Runtime } from '../runtime.ts';

export interface TopUpParts {
  readonly settings: Settings;
  readonly runtime: Runtime;
  readonly crypto: Crypto;
  readonly ledger: Ledger;
  readonly stripe: Stripe;
  /** Reads the customer from Stripe. */
  readonly refresher: () => Pick<Refresher, 'pass'>;
  /** Told when something is due: the entry owns when it is done. */
  readonly changed: (customer: string) => void;
}

export interface AssembledTopUps {
  readonly topUps: ToppingUp;
  readonly links: TopUpLinks;
  readonly routes: Hono;
}

export function assembleTopUps(parts: TopUpParts): AssembledTopUps {
  const { settings, runtime, ledger, stripe } = parts;
  const payments = createStripePayments({ stripe });
  const topUps = createToppingUp({
    ...parts,
    payments,
    defaults: { ...settings.budget, plans: settings.plans },
    notifies: settings.notify !== null,
    granted(customer) {
      parts.changed(customer);
      runtime.defer(parts.refresher().pass());
    },
  });
  const links = linksOf({ ...parts, payments });
  return { topUps, links, routes: createTopUpRoutes({ ledger, topUps, links }) };
}

/** The links alone, for who must tell whose a link is without having his ledger. */
export const linksOf = ({
  settings,
  crypto,
  runtime,
  ledger,
  payments,
}: Pick<TopUpParts, 'settings' | 'crypto' | 'runtime'> & {
  readonly ledger: Pick<Ledger, 'openTopUp' | 'saveTopUp' | 'topUps'>;
  readonly payments: Pick<ReturnType<typeof createStripePayments>, 'checkout'>;
}): TopUpLinks =>
  createTopUpLinks({
    settings: settings.budget.topUpLink,
    // Stripe's key is there wherever there are links, and is as secret as a secret can be.
    secret: crypto.hmac(settings.stripe.secretKey ?? '', 'faregate top-up links'),
    ledger,
    payments,
    crypto,
    runtime,
  });
