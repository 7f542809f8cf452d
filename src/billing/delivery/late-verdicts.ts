/**
 * Stripe's later word on meter events that it had taken: thin events, which carry nothing and are fetched. They name some
 * of the events that failed. Those become `refused`, with what to do; what they do not name raises an alarm, and
 * reconciliation finds it.
 */
import { Stripe } from 'stripe';
import type { LateVerdict, Ledger } from '../../ledger/ledger.ts';
import type { Runtime } from '../../runtime.ts';
import { realDeadline, within } from '../stripe/deadline.ts';
import type { Deadline } from '../stripe/deadline.ts';
import { StripeUnreachable } from '../ports.ts';
import { fixForCode } from '../stripe/answers.ts';
import { eventOf } from './v2-sink.ts';
import { membersOf, UnreadableEvent } from '../stripe/event.ts';
import type { Members } from '../stripe/event.ts';

export interface LateVerdictsOptions {
  readonly stripe: Stripe;
  readonly ledger: Pick<Ledger, 'applyVerdict'>;
  readonly runtime: Pick<Runtime, 'now' | 'log'>;
  readonly deadline?: Deadline | undefined;
}

export interface LateVerdicts {
  /** Throws `StripeUnreachable` or `UnreadableEvent`: nothing was recorded then, and Stripe tells again. */
  learn(id: string, type: string): Promise<'applied' | 'seen' | 'ignored'>;
}

export const VERDICT_TYPES: ReadonlySet<string> = new Set([
  'v1.billing.meter.error_report_triggered',
  'v1.billing.meter.no_meter_found',
]);
/** Asked by a webhook, which Stripe gives 10 s or more. */
const FETCH_MS = 8_000;
/** Events named by one report that are looked at. */
const NAMED_MAX = 1_000;

export function createLateVerdicts({
  stripe,
  ledger,
  runtime,
  deadline = realDeadline,
}: LateVerdictsOptions): LateVerdicts {
  const fetched = async (id: string): Promise<unknown> => {
    const options = { timeout: FETCH_MS, maxNetworkRetries: 0 };
    try {
      return await within(stripe.v2.core.events.retrieve(id, {}, options), deadline(FETCH_MS));
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new StripeUnreachable(
        `The event ${id} could not be fetched (the key needs Events, read): ${text}`,
        {
          cause: error,
        },
      );
    }
  };

  return {
    async learn(id, type) {
      if (!VERDICT_TYPES.has(type)) return 'ignored';
      const verdict = verdictOf(await fetched(id), { id, type, receivedAtMs: runtime.now() });
      const { kind, matched } = await ledger.applyVerdict(verdict);
      if (kind === 'seen') return kind;
      const fields = { event: id, type, failed: verdict.errorCount, matched, message: verdict.message };
      runtime.log('error', 'meter_events_refused_late', fields);
      if (matched < verdict.errorCount) runtime.log('error', 'late_verdict_unmatched', fields);
      return kind;
    },
  };
}

function verdictOf(event: unknown, received: Pick<LateVerdict, 'id' | 'type' | 'receivedAtMs'>): LateVerdict {
  const { id, type, data, created } = membersOf(event, 'the event');
  if (id !== received.id || type !== received.type) throw new UnreadableEvent('another event came back');
  const members = membersOf(data, 'data');
  const { developer_message_summary: summary, reason } = members;
  const { error_count: count, error_types: types } = membersOf(reason, 'data.reason');
  const kinds = listOf(types);
  const refused = kinds.flatMap(samplesOf).slice(0, NAMED_MAX);
  const errorCount = kinds.reduce((sum, kind) => sum + countOf(kind['error_count']), 0);
  return {
    ...received,
    message: typeof summary === 'string' ? summary : '',
    errorCount: Math.max(countOf(count), errorCount, refused.length),
    refused,
    validatedUntilMs: timeOf(members['validation_end']) ?? timeOf(created) ?? received.receivedAtMs,
  };
}

/** The objects of a list: one entry that makes no sense must not keep the others from being refused. */
const listOf = (value: unknown): readonly Members[] =>
  (Array.isArray(value) ? value : []).filter(
    (one: unknown): one is Members => typeof one === 'object' && one !== null && !Array.isArray(one),
  );

/** v2 may write whole numbers as text. */
function countOf(value: unknown): number {
  const count = typeof value === 'string' ? Number(value) : value;
  return typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? count : 0;
}

function timeOf(text: unknown): number | undefined {
  const ms = typeof text === 'string' ? Date.parse(text) : NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/** Stripe may name some, all or none of those that failed. */
function samplesOf({ code, sample_errors: samples }: Members): LateVerdict['refused'] {
  const name = typeof code === 'string' ? code : 'unknown';
  return listOf(samples).flatMap(({ error_message: message, request }) => {
    const [named] = listOf([request]);
    const identifier = named?.['identifier'];
    if (typeof identifier !== 'string' || identifier === '') return [];
    const text = typeof message === 'string' ? message : '';
    const error = `Refused after it was taken, ${name}: ${text} To do: ${fixForCode(name)}.`;
    return [{ identifier: eventOf(identifier), error }];
  });
}
