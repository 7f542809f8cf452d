/**
 * What the stand-in knows: a small Stripe account in memory. Plain data only, so that it can be written to a file and
 * read back. Times inside Stripe's own objects are in seconds, as Stripe has them; `…Ms` are milliseconds.
 */
import { randomBytes } from 'node:crypto';

export interface Customer {
  id: string;
  object: 'customer';
  created: number;
  description: string | null;
  email: string | null;
  livemode: false;
  metadata: Record<string, string>;
  name: string | null;
  [field: string]: unknown;
}

export interface Meter {
  id: string;
  object: 'billing.meter';
  created: number;
  customer_mapping: { event_payload_key: string; type: 'by_id' };
  default_aggregation: { formula: 'count' | 'last' | 'sum' };
  /** Private preview only: keys that every event's payload must have. */
  dimension_payload_keys: string[] | null;
  display_name: string;
  event_name: string;
  event_time_window: 'day' | 'hour' | null;
  livemode: false;
  status: 'active' | 'inactive';
  status_transitions: { deactivated_at: number | null };
  updated: number;
  value_settings: { event_payload_key: string };
}

/** A meter event that was taken, as the stand-in keeps it. */
export interface AcceptedEvent {
  identifier: string;
  event_name: string;
  meter: string;
  customer: string;
  /** Every payload key as sent: value, customer and dimensions. */
  payload: Record<string, string>;
  /** The event's own time, seconds. */
  timestamp: number;
  receivedAtMs: number;
  cancelled: boolean;
  api: 'v1' | 'v2' | 'stream';
}

export interface Alert {
  id: string;
  object: 'billing.alert';
  alert_type: string;
  livemode: false;
  status: 'active' | 'archived' | 'inactive' | null;
  title: string;
  usage_threshold: {
    filters: { customer: string | null; type: 'customer' }[] | null;
    gte: number;
    meter: string;
    recurrence: 'one_time';
  } | null;
  [field: string]: unknown;
}

export interface CreditGrant {
  id: string;
  object: 'billing.credit_grant';
  amount: { monetary: { currency: string; value: number }; type: 'monetary' };
  applicability_config: { scope: { price_type?: 'metered'; prices?: { id: string | null }[] } };
  category: 'paid' | 'promotional';
  created: number;
  customer: string;
  customer_account: null;
  effective_at: number | null;
  expires_at: number | null;
  livemode: false;
  metadata: Record<string, string>;
  name: string | null;
  priority: number;
  test_clock: null;
  updated: number;
  voided_at: number | null;
}

export interface PaymentMethod {
  id: string;
  object: 'payment_method';
  created: number;
  customer: string | null;
  livemode: false;
  metadata: Record<string, string>;
  type: 'card' | 'us_bank_account';
  /** What comes of charging it, which Stripe does not show. */
  does: 'pays' | 'takes_days' | 'generic_decline' | 'insufficient_funds' | 'authentication_required';
  [field: string]: unknown;
}

export interface PaymentIntent {
  id: string;
  object: 'payment_intent';
  amount: number;
  amount_received: number;
  created: number;
  currency: string;
  customer: string | null;
  last_payment_error: {
    code: string;
    decline_code: string;
    message: string;
    [field: string]: unknown;
  } | null;
  livemode: false;
  metadata: Record<string, string>;
  payment_method: string | null;
  status: 'canceled' | 'processing' | 'requires_confirmation' | 'requires_payment_method' | 'succeeded';
  [field: string]: unknown;
}

export interface CheckoutSession {
  id: string;
  object: 'checkout.session';
  amount_subtotal: number;
  amount_total: number;
  created: number;
  currency: string;
  customer: string;
  expires_at: number;
  livemode: false;
  metadata: Record<string, string>;
  payment_intent: string | null;
  payment_intent_metadata: Record<string, string>;
  payment_status: 'paid' | 'unpaid';
  status: 'complete' | 'expired' | 'open';
  success_url: string;
  url: string | null;
  [field: string]: unknown;
}

/** A subscription or an invoice, as the last event about it told. */
export interface Told {
  id: string;
  customer: string;
  status: string;
  [field: string]: unknown;
}

export interface WebhookEndpoint {
  id: string;
  object: 'webhook_endpoint';
  api_version: string | null;
  application: null;
  created: number;
  description: string | null;
  enabled_events: string[];
  livemode: false;
  metadata: Record<string, string>;
  secret: string;
  status: 'enabled' | 'disabled';
  url: string;
}

export interface StripeEvent {
  id: string;
  object: 'event';
  api_version: string;
  created: number;
  data: { object: Record<string, unknown>; previous_attributes?: Record<string, unknown> };
  livemode: false;
  pending_webhooks: number;
  request: { id: string | null; idempotency_key: string | null };
  type: string;
}

export interface World {
  customers: Map<string, Customer>;
  /** Ids of customers that were deleted: Stripe still answers for them. */
  deleted: Set<string>;
  meters: Map<string, Meter>;
  accepted: AcceptedEvent[];
  alerts: Map<string, Alert>;
  /** Usage since an alert was created, by `alert|customer`. */
  alertUsage: Map<string, number>;
  /** `alert|customer` pairs that fired: once each. */
  fired: Set<string>;
  grants: Map<string, CreditGrant>;
  /** What finalized invoices took of each grant, in the currency's smallest unit. */
  applied: Map<string, number>;
  subscriptions: Map<string, Told>;
  invoices: Map<string, Told>;
  paymentMethods: Map<string, PaymentMethod>;
  paymentIntents: Map<string, PaymentIntent>;
  sessions: Map<string, CheckoutSession>;
  endpoints: Map<string, WebhookEndpoint>;
  events: StripeEvent[];
}

/** The account with its clock and its voice: what a route works with. */
export interface Account {
  readonly world: World;
  now(): number;
  seconds(): number;
  /** Where the stand-in listens. */
  url(): string;
  /** Records an event and sends it to the webhook endpoints. */
  emit(type: string, object: object, previous?: Record<string, unknown>): StripeEvent;
  /** Told after each change, so that it can be kept. */
  changed(): void;
}

export const API_VERSION = '2026-10-28.endive';

export const createWorld = (): World => ({
  customers: new Map(),
  deleted: new Set(),
  meters: new Map(),
  accepted: [],
  alerts: new Map(),
  alertUsage: new Map(),
  fired: new Set(),
  grants: new Map(),
  applied: new Map(),
  subscriptions: new Map(),
  invoices: new Map(),
  paymentMethods: new Map(),
  paymentIntents: new Map(),
  sessions: new Map(),
  endpoints: new Map(),
  events: [],
});

/** A new id in Stripe's manner. Random, so that a restarted sandbox never gives an old event's id again. */
export const stripeId = (prefix: string): string => `${prefix}_${randomBytes(12).toString('hex')}`;

/** A collection as Stripe lists it: newest first. */
export const newestFirst = <T>(items: Iterable<T>): T[] => [...items].toReversed();
