/** Attempts that failed before another was made in their place: on record before the next upstream is asked. */
import type { LedgerParts } from './create-ledger.ts';
import type { Attempt, AttemptFailure, Ledger, Row, UsageSource } from './ledger.ts';
import { numberOf, numberOrNull, textOf, textOrNull, wordOf } from './rows.ts';

/** Of a call that is still open: what recovery has closed stays as it is. A repeat changes nothing. */
const RECORD_ATTEMPT = `
  INSERT INTO attempts (call, attempt, provider, model, failure, status, usage_source, usage_json, cost_pico,
    response_id, ended_at_ms)
  SELECT id, CAST(? AS BIGINT), ?, ?, ?, CAST(? AS BIGINT), ?, ?, CAST(? AS BIGINT), ?, CAST(? AS BIGINT)
  FROM calls WHERE id = ? AND ended_at_ms IS NULL
  ON CONFLICT (call, attempt) DO NOTHING`;

/** Who is asked next. What was seen of the failed attempt is no evidence of the next one. */
const TURN_CALL = `
  UPDATE calls SET provider = ?, model = ?, checkpoint_json = NULL WHERE id = ? AND ended_at_ms IS NULL`;

export const readAttempts = (page: string): string => `
  SELECT call, attempt, provider, model, failure, status, usage_source, usage_json,
    CAST(cost_pico AS TEXT) AS cost_pico, response_id, ended_at_ms
  FROM attempts WHERE call IN (${page}) ORDER BY call, attempt`;

export function createAttempts({ database }: LedgerParts): Pick<Ledger, 'attemptFailed'> {
  return {
    async attemptFailed(call, failed, next) {
      const { attempt, provider, model, failure, status, usageSource, usageJson, costPico } = failed;
      const what = [attempt, provider, model, failure, status, usageSource, usageJson, costPico];
      await database.batch([
        { sql: RECORD_ATTEMPT, params: [...what, failed.responseId, failed.endedAtMs, call] },
        { sql: TURN_CALL, params: [next.provider, next.model, call] },
      ]);
    },
  };
}

export const attemptView = (row: Row): Attempt => ({
  attempt: numberOf(row, 'attempt'),
  provider: textOf(row, 'provider'),
  model: textOf(row, 'model'),
  failure: wordOf<AttemptFailure>(row, 'failure'),
  status: numberOrNull(row, 'status'),
  usageSource: wordOf<UsageSource>(row, 'usage_source'),
  usageJson: textOf(row, 'usage_json'),
  costPico: textOrNull(row, 'cost_pico'),
  responseId: textOrNull(row, 'response_id'),
  endedAtMs: numberOf(row, 'ended_at_ms'),
});
