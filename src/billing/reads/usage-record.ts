/** `POST /v1/usage/record`: any other billable unit, as a meter event through the same delivery. */
import { z } from 'zod';
import { CUSTOMER_ID } from '../../customer-id.ts';
import { Refusal } from '../../errors.ts';
import type { Recording } from '../../ledger/recording.ts';
import type { Crypto } from '../../runtime.ts';

export interface UsageRecorderOptions {
  readonly ledger: Recording;
  readonly crypto: Pick<Crypto, 'sha256'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told when there is something to deliver. */
  readonly recorded: () => void;
}

export interface RecordedUsage {
  readonly status: 'recorded' | 'already';
  readonly identifier: string;
  readonly event: string;
  readonly timestampMs: number;
}

/** Stripe takes events up to 35 days old, and 5 minutes ahead. At 34 days they are not sent any more; an hour is for that. */
const AGE_MS = 2_934_000_000;
const AHEAD_MS = 300_000;
/** Stripe refuses a value of more digits. */
const VALUE_RULE = 'must be a whole number of 1 or more, 15 digits at most';

const bodySchema = z
  .strictObject({
    customer: z.string().regex(CUSTOMER_ID, 'must be a Stripe customer id, cus_...'),
    event_name: z.string().min(1).max(100).optional(),
    unit: z.string().min(1).max(100).optional(),
    value: z
      .union(
        [
          z.int(VALUE_RULE).positive(VALUE_RULE).max(999_999_999_999_999, VALUE_RULE),
          z.string().regex(/^[1-9]\d{0,14}$/, VALUE_RULE),
        ],
        { error: VALUE_RULE },
      )
      .transform(String),
    identifier: z.string().regex(/^[\x21-\x7e]{1,100}$/, 'must be 1 to 100 characters without spaces'),
    timestamp: z.union([z.int().positive(), z.iso.datetime({ offset: true })]).optional(),
  })
  .refine((body) => (body.event_name ?? body.unit) !== undefined, {
    path: ['event_name'],
    error: 'is required: the event name of the Stripe meter that counts this unit',
  });

/**
 * Records a unit once for each customer, event name and `identifier`, however often it is sent.
 *
 * The recorder throws a `Refusal`: 400 for a body at fault, or one that differs from what was recorded under its identifier.
 */
export function createUsageRecorder({ ledger, crypto, now, recorded }: UsageRecorderOptions) {
  return async (body: unknown): Promise<RecordedUsage> => {
    const parsed = bodySchema.safeParse(body);
    if (!parsed.success) throw atFault(parsed.error.issues[0]);
    const { customer, value, identifier, timestamp } = parsed.data;
    const eventName = parsed.data.event_name ?? parsed.data.unit ?? '';
    const timestampMs = momentOf(timestamp, now());
    // The identifier commits to who and what; that time and value are the same is checked against the record.
    const event = `fg_rec_${crypto.sha256(JSON.stringify([customer, eventName, identifier]))}`;
    const content = { destination: 'dimensions', eventName, customer, model: '', tokenType: '', value };
    const record = await ledger.record({ identifier: event, ...content, timestampMs });
    const isSameTime = timestamp === undefined || record.timestampMs === timestampMs;
    if (record.value !== value || !isSameTime) throw differs(identifier);
    if (record.kind === 'recorded') recorded();
    return { status: record.kind, identifier, event, timestampMs: record.timestampMs };
  };
}

function momentOf(timestamp: number | string | undefined, nowMs: number): number {
  if (timestamp === undefined) return nowMs;
  const ms = typeof timestamp === 'number' ? timestamp * 1_000 : Date.parse(timestamp);
  if (ms >= nowMs - AGE_MS && ms <= nowMs + AHEAD_MS) return ms;
  throw new Refusal(
    'invalid_request',
    '"timestamp" must be less than 34 days ago, by an hour at least, and 5 minutes ahead at most: Stripe takes 35 days, and one is for sending it.',
    { param: 'timestamp' },
  );
}

function atFault(issue: z.core.$ZodIssue | undefined): Refusal {
  const param = issue?.path.join('.') ?? '';
  return new Refusal(
    'invalid_request',
    `${param === '' ? 'The body' : `"${param}"`}: ${issue?.message ?? 'wrong'}.`,
    {
      param,
    },
  );
}

const differs = (identifier: string): Refusal =>
  new Refusal(
    'invalid_request',
    `Another usage was recorded under the identifier "${identifier}": it stays. Send a new identifier for a new usage.`,
    { param: 'identifier' },
  );
