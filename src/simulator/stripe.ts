/**
 * A stand-in for Stripe over real HTTP, which the `stripe` package talks to as it talks to Stripe (`host`, `port` and
 * `protocol` overridden). It holds what a metered account needs: customers, meters, meter events, summaries, alerts,
 * credit grants, payments as far as credit is bought with them, events and signed webhooks, with Stripe's own refusals; and
 * what goes wrong with all that, to order. Not here: products, prices, refunds, Connect.
 */
import { createServer } from 'node:http';
import { createVoices, type Voices } from './account.ts';
import { adjustmentRoutes } from './adjustments.ts';
import { alertRoutes } from './alerts.ts';
import { checkoutPage, checkoutRoutes } from './checkout.ts';
import { control } from './control.ts';
import { creditRoutes } from './credits.ts';
import { customerRoutes } from './customers.ts';
import { eventRoutes } from './events.ts';
import { createExchange, type LoggedRequest } from './exchange.ts';
import { createFaults, type Faults } from './faults.ts';
import { listening, type Listening } from './http.ts';
import { createIdempotency } from './idempotency.ts';
import { createLateErrors, type TriggerLate } from './late-errors.ts';
import { createMeterErrors, type MeterErrors, type ThinEvent } from './meter-errors.ts';
import { meterEventRoutes } from './meter-events.ts';
import { meterRoutes } from './meters.ts';
import { paymentRoutes } from './payments.ts';
import { createRouter } from './routes.ts';
import { createSnapshot, readSnapshot } from './snapshot.ts';
import { createSessions } from './stream.ts';
import { subscriptionRoutes } from './subscriptions.ts';
import { summaryRoutes, sumUsage, type UsageSum } from './summaries.ts';
import { createWebhookSender, type WebhookSender } from './webhooks.ts';
import { createWorld, type World } from './world.ts';

export type { Triggered } from './account.ts';
export { THIN_TYPES } from './late-errors.ts';
export { TRIGGER_TYPES } from './trigger.ts';

export interface StripeSimulatorOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Signs the webhooks to `webhookUrl`. */
  readonly webhookSecret: string;
  /** Gets every event. Endpoints made through the API get those they ask for, beside it. */
  readonly webhookUrl?: string;
  /** Waits between the attempts of a failing delivery; 1 s, 5 s and 25 s by default. */
  readonly retryDelaysMs?: readonly number[];
  /** Keys that are accepted; by default any that begins with `sk_test_` or `rk_test_`. */
  readonly apiKeys?: readonly string[];
  /** Requests a second before a 429: 25 in a sandbox of Stripe's. No limit by default. */
  readonly requestsPerSecondMax?: number;
  /** How long failures of meter events are gathered before an error report tells; 10 s by default. */
  readonly errorReportDelayMs?: number;
  /** How many failures of a kind a report names; 5 by default, and Stripe may name none. */
  readonly errorSamples?: number;
  /** How long summaries lag behind the events; 0 by default. */
  readonly summaryLagMs?: number;
  /** Keeps the account in this file over a restart. Memory only by default. */
  readonly snapshotFile?: string;
}

/**
 * What may be ordered and read from outside Stripe's API. `trigger` throws `StripeFailure` for a type or customer it does
 * not know. `addCustomer`, `addMeter` and `addCredit` (in cents of US dollars) send no webhook; the first two leave what
 * exists as it is.
 */
export interface SimulatorOrders extends Omit<Voices, 'account'> {
  /** The account, to be read. */
  readonly world: World;
  readonly faults: Faults;
  readonly webhooks: Omit<WebhookSender, 'send' | 'close'>;
  /** The last 10,000 requests to the API, oldest first. */
  readonly requests: readonly LoggedRequest[];
  /** Makes Stripe think better of a meter event that it had taken, and tells it by a thin event. */
  readonly triggerLate: TriggerLate;
  /** Tells now of the meter events that failed after they were taken. */
  reportMeterErrors(): readonly ThinEvent[];
  /** What the accepted events come to, by event name, customer and all other payload keys. */
  sums(): UsageSum[];
  /** Sends webhooks here from now on; the secret stays where none is given. */
  sendWebhooksTo(url: string, secret?: string): void;
}

export type StripeSimulator = SimulatorOrders & Listening;

const REQUESTS_MAX = 10_000;
const RETRY_DELAYS_MS = [1_000, 5_000, 25_000];

/** Throws when `snapshotFile` exists and cannot be read. `close` writes the file before it resolves. */
export function createStripeSimulator(options: StripeSimulatorOptions): StripeSimulator {
  const { now, snapshotFile: file, retryDelaysMs = RETRY_DELAYS_MS } = options;
  const world = file === undefined ? createWorld() : readSnapshot(file);
  const snapshot = file === undefined ? undefined : createSnapshot(file, () => world);
  let { webhookUrl: url, webhookSecret: secret } = options;
  const fixed = () => (url === undefined ? undefined : { url, secret });
  const sender = createWebhookSender({ world: () => world, now, fixed, retryDelaysMs });
  const changed = (): void => snapshot?.changed();
  const { account, ...voices } = createVoices({ world, now, url: () => http.url, changed }, sender);
  // The sender keeps account of its own work and never rejects.
  const errors = createMeterErrors({ ...options, send: (event) => void sender.send(event) });
  const sessions = createSessions(now, errors);
  const requests: LoggedRequest[] = [];
  const stop = new AbortController();
  const orders: SimulatorOrders = {
    world,
    faults: createFaults(),
    webhooks: sender,
    requests,
    sums: () => sumUsage(world),
    reportMeterErrors: errors.report,
    sendWebhooksTo: (newUrl, newSecret) => {
      url = newUrl;
      secret = newSecret ?? secret;
    },
    triggerLate: createLateErrors(world, errors, sender),
    ...voices,
  };
  const exchange = createExchange({
    account,
    route: createRouter([
      ...ROUTES,
      ...errors.routes,
      ...sessions.routes,
      ...summaryRoutes(options.summaryLagMs ?? 0),
      ...eventRoutes(fixed),
    ]),
    faults: orders.faults,
    idempotency: createIdempotency(now),
    apiKeys: options.apiKeys,
    checkSession: sessions.check,
    rejectLater: (identifier) => rejectLater(world, errors, identifier),
    withinRate: rateLimit(now, options.requestsPerSecondMax),
    log: (request) => {
      requests.push(request);
      if (requests.length > REQUESTS_MAX) requests.shift();
    },
    stop: stop.signal,
  });
  const http: Listening = listening(
    createServer((request, response) => {
      if (request.url?.startsWith('/checkout/') === true) return checkoutPage(account, request, response);
      const isOrder = request.url?.startsWith('/_simulator/') === true;
      // Neither rejects: each answers its own errors, and a connection that was cut has nobody to tell.
      void (isOrder ? control(orders, request, response) : exchange(request, response));
    }),
  );
  return {
    ...orders,
    listen: http.listen,
    get url() {
      return http.url;
    },
    close: async () => {
      stop.abort();
      sender.close();
      errors.close();
      await http.close();
      await snapshot?.flush();
    },
  };
}

/** Takes an event out of the sums again; a report will tell. */
function rejectLater(world: World, errors: MeterErrors, identifier: string): void {
  const event = world.accepted.findLast((one) => one.identifier === identifier);
  if (event === undefined) return;
  event.cancelled = true;
  const message = 'The meter for this event is archived.';
  errors.add({ meter: event.meter, code: 'archived_meter', message, identifier });
}

const ROUTES = [
  ...customerRoutes,
  ...meterRoutes,
  ...meterEventRoutes,
  ...adjustmentRoutes,
  ...alertRoutes,
  ...creditRoutes,
  ...subscriptionRoutes,
  ...paymentRoutes,
  ...checkoutRoutes,
];

function rateLimit(now: () => number, perSecondMax: number | undefined): () => boolean {
  let second = 0;
  let count = 0;
  return () => {
    const current = Math.floor(now() / 1_000);
    count = current === second ? count + 1 : 1;
    second = current;
    return perSecondMax === undefined || count <= perSecondMax;
  };
}
