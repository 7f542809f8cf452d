/**
 * The headers that clients read a key's limits from. OpenAI's shape is
 * https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers, where a reset is a time to wait ("6m0s");
 * Anthropic's is https://docs.anthropic.com/en/api/rate-limits#response-headers, where it is a moment.
 */
import type { Dialect } from '../errors.ts';

/** One limit as it stands. */
export interface LimitState {
  readonly of: 'requests' | 'tokens';
  readonly limit: number;
  readonly remaining: number;
  /** Until nothing of it is used any more, milliseconds. */
  readonly resetMs: number;
}

export function limitHeaders(
  states: readonly LimitState[],
  dialect: Dialect,
  nowMs: number,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const { of, limit, remaining, resetMs } of states) {
    const [limitName, remainingName, resetName] =
      dialect === 'anthropic'
        ? [
            `anthropic-ratelimit-${of}-limit`,
            `anthropic-ratelimit-${of}-remaining`,
            `anthropic-ratelimit-${of}-reset`,
          ]
        : [`x-ratelimit-limit-${of}`, `x-ratelimit-remaining-${of}`, `x-ratelimit-reset-${of}`];
    headers[limitName] = String(limit);
    headers[remainingName] = String(Math.floor(remaining));
    headers[resetName] =
      dialect === 'anthropic'
        ? `${new Date(nowMs + resetMs).toISOString().slice(0, 19)}Z`
        : durationText(resetMs);
  }
  return headers;
}

/** As OpenAI writes it: `17ms`, `1.2s`, `1m0s`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.ceil(ms)}ms`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = Math.ceil(ms - minutes * 60_000) / 1_000;
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds}s`;
}

/** Whole seconds, one at least: what `retry-after` can say. */
export const secondsUntil = (ms: number): number => Math.max(1, Math.ceil(ms / 1_000));
