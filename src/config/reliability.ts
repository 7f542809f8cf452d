/** The part of the configuration's schema about upstreams that are slow, busy or down. */
import { z } from 'zod';
import { duration } from './duration.ts';

/** Nothing is waited for longer than a day. */
const TIMEOUT_MS_MAX = 86_400_000;
/** Asked again so often at most: past this a retry is a loop, and every SDK retries too. */
const RETRIES_MAX = 5;
/** A caller who would wait longer does better to be told. */
const WAIT_MS_MAX = 60_000;
const FAILURES_MAX = 1_000;
const OPEN_MS_MAX = 3_600_000;

const timeout = duration(1, TIMEOUT_MS_MAX, '1ms to 24h');

const MEANINGS = {
  connect: 'Until a connection stands.',
  first_byte: "Until the reply's head.",
  idle: 'Between two pieces of a reply.',
  total: 'From the admission of a call to the end of its reply, all its attempts included.',
} as const;

export const timeouts = z
  .strictObject({
    connect: timeout.prefault('10s').describe(MEANINGS.connect),
    first_byte: timeout.prefault('10m').describe(MEANINGS.first_byte),
    idle: timeout.prefault('5m').describe(MEANINGS.idle),
    total: timeout.prefault('1h').describe(MEANINGS.total),
  })
  .prefault({});

/** A provider's own, where they differ. */
export const providerTimeouts = z
  .strictObject({
    connect: timeout.optional().describe(MEANINGS.connect),
    first_byte: timeout.optional().describe(MEANINGS.first_byte),
    idle: timeout.optional().describe(MEANINGS.idle),
    total: timeout.optional().describe(MEANINGS.total),
  })
  .optional();

const whole = (max: number, min: number) =>
  z
    .int({ error: `must be a whole number from ${min} to ${max}` })
    .min(min, { error: `must be ${min} or more` })
    .max(max, { error: `must be ${max} or less` });

export const retries = z
  .strictObject({
    max: whole(RETRIES_MAX, 0).default(2).describe('Times the same target is asked again.'),
    wait_max: duration(0, WAIT_MS_MAX, 'a minute at most')
      .prefault('2s')
      .describe('The longest wait before it; an upstream that asks for a longer one is not asked again.'),
  })
  .prefault({});

export const breaker = z
  .strictObject({
    failures: whole(FAILURES_MAX, 1).default(5).describe('Failures in a row that open it.'),
    open_max: duration(1, OPEN_MS_MAX, '1ms to an hour')
      .prefault('30s')
      .describe('Open for so long at most; 1 s at first, doubling.'),
  })
  .prefault({});

/** How long an upstream is waited for, milliseconds. */
export interface Timeouts {
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly idleMs: number;
  readonly totalMs: number;
}

export const toTimeouts = ({ connect, first_byte, idle, total }: z.output<typeof timeouts>): Timeouts => ({
  connectMs: connect,
  firstByteMs: first_byte,
  idleMs: idle,
  totalMs: total,
});

/** Of a provider's own, those that are given. */
export function partOf({
  connect,
  first_byte,
  idle,
  total,
}: NonNullable<z.output<typeof providerTimeouts>>): Partial<Timeouts> {
  return {
    ...(connect === undefined ? {} : { connectMs: connect }),
    ...(first_byte === undefined ? {} : { firstByteMs: first_byte }),
    ...(idle === undefined ? {} : { idleMs: idle }),
    ...(total === undefined ? {} : { totalMs: total }),
  };
}
