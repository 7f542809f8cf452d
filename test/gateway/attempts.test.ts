import { describe, expect, it } from 'vitest';
import { type Failure, nextStep, type Policy, retryAfterMs, verdictOf } from '../../src/gateway/attempts.ts';

const answered = (
  status: number,
  more: { headers?: Record<string, string>; text?: string } = {},
): Failure => ({
  kind: 'answered',
  status,
  headers: more.headers ?? {},
  text: more.text ?? '',
});

describe('the table of failures', () => {
  it.each([
    [400, 'end', 'caller'],
    [413, 'end', 'caller'],
    [418, 'end', 'caller'],
    [422, 'end', 'caller'],
    [301, 'next', 'operator'],
    [401, 'next', 'operator'],
    [402, 'next', 'operator'],
    [403, 'next', 'operator'],
    [404, 'next', 'operator'],
    [408, 'again', 'upstream'],
    [409, 'again', 'rate'],
    [429, 'again', 'rate'],
    [500, 'again', 'upstream'],
    [501, 'next', 'upstream'],
    [503, 'again', 'upstream'],
    [529, 'again', 'upstream'],
  ])('%i: %s, by the doing of the %s', (status, turn, fault) => {
    expect(verdictOf(answered(status))).toEqual({ turn, fault });
  });

  it("takes a vendor's empty account or refused key for the operator's, whatever the status", () => {
    for (const [status, text] of [
      [429, '{"error":{"code":"insufficient_quota"}}'],
      [400, '{"error":{"message":"Your credit balance is too low to access the Anthropic API."}}'],
      [400, '{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}'],
    ] as const)
      expect(verdictOf(answered(status, { text }))).toEqual({ turn: 'next', fault: 'operator' });
  });

  it('asks no upstream again that says it is not worth it', () => {
    const headers = { 'x-should-retry': 'false' };
    expect(verdictOf(answered(500, { headers }))).toEqual({ turn: 'next', fault: 'upstream' });
  });
});

const policy: Policy = { retriesMax: 2, waitMsMax: 2_000, nowMs: 0, random: 0, willing: () => true };
const course = { at: 0, targets: 2, tries: 1, attempts: 1, leftMs: 60_000 };

const wait = (seconds: string): Failure => answered(429, { headers: { 'retry-after': seconds } });
const willing = (target: number): boolean => target === 2;

describe('the next step', () => {
  it('is the same target while it has retries, with waits that double, then the next', () => {
    expect(nextStep(answered(503), course, policy)).toEqual({ kind: 'ask', target: 0, waitMs: 200 });
    expect(nextStep(answered(503), { ...course, tries: 2, attempts: 2 }, policy)).toEqual({
      kind: 'ask',
      target: 0,
      waitMs: 400,
    });
    expect(nextStep(answered(503), { ...course, tries: 3, attempts: 3 }, policy)).toEqual({
      kind: 'ask',
      target: 1,
      waitMs: 0,
    });
  });

  it('waits as long as the upstream asks, and goes on where that is too long', () => {
    expect(nextStep(wait('1'), course, policy)).toEqual({ kind: 'ask', target: 0, waitMs: 1_000 });
    expect(nextStep(wait('7'), course, policy)).toEqual({ kind: 'ask', target: 1, waitMs: 0 });
    expect(nextStep(wait('7'), { ...course, targets: 1 }, policy)).toEqual({ kind: 'end' });
  });

  it('ends after the last target, after sixteen attempts, and when the time is over', () => {
    expect(nextStep({ kind: 'timeout' }, { ...course, at: 1 }, policy)).toEqual({ kind: 'end' });
    expect(nextStep(answered(500), { ...course, attempts: 16 }, policy)).toEqual({ kind: 'end' });
    expect(nextStep(answered(500), { ...course, leftMs: 0 }, policy)).toEqual({ kind: 'end' });
  });

  it('passes over targets that are held back', () => {
    expect(nextStep(answered(500), { ...course, targets: 3 }, { ...policy, willing })).toEqual({
      kind: 'ask',
      target: 2,
      waitMs: 0,
    });
    expect(nextStep(answered(500), course, { ...policy, willing })).toEqual({ kind: 'end' });
  });
});

it('reads how long to wait from milliseconds, seconds or a date', () => {
  expect(retryAfterMs({ 'retry-after-ms': '250', 'retry-after': '9' }, 0)).toBe(250);
  expect(retryAfterMs({ 'retry-after': '1.5' }, 0)).toBe(1_500);
  expect(retryAfterMs({ 'retry-after': 'Sat, 21 Nov 2026 12:00:05 GMT' }, Date.UTC(2026, 10, 21, 12))).toBe(
    5_000,
  );
  expect(retryAfterMs({ 'retry-after': 'soon' }, 0)).toBeUndefined();
  expect(retryAfterMs({}, 0)).toBeUndefined();
});
