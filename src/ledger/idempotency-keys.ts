/**
 * Which call was made under an idempotency key. Only the name of the call is kept: its reply lives in memory, and is gone
 * with it, but a key whose call was billed never makes a second one.
 */
import type { LedgerParts } from './create-ledger.ts';
import type { KeyClaim } from './idempotency-port.ts';
import type { Ledger } from './ledger.ts';
import { numberOrNull, textOf, textOrNull } from './rows.ts';

/** Expired keys forgotten with each new one: keys come one at a time, so that none are left behind. */
const FORGOTTEN_PER_BATCH = 10;

const FORGET_EXPIRED = `
  DELETE FROM idempotency_keys WHERE scope IN (
    SELECT scope FROM idempotency_keys WHERE claimed_at_ms < ? ORDER BY claimed_at_ms LIMIT CAST(? AS BIGINT))`;

/**
 * Takes a key that is new, or whose call came to nothing: it ended without a bill and not well, or it was never opened
 * (refused, or cut by a crash before that). All others keep their call.
 */
const CLAIM_KEY = `
  INSERT INTO idempotency_keys (scope, body_hash, call, claimed_at_ms) VALUES (?, ?, ?, ?)
  ON CONFLICT (scope) DO UPDATE
    SET body_hash = excluded.body_hash, call = excluded.call, claimed_at_ms = excluded.claimed_at_ms
    WHERE idempotency_keys.claimed_at_ms < ?
      OR EXISTS (SELECT 1 FROM calls c WHERE c.id = idempotency_keys.call AND c.ended_at_ms IS NOT NULL
        AND c.line_count = 0 AND COALESCE(c.cost_pico, 0) = 0 AND c.outcome <> 'finished')
      OR (idempotency_keys.claimed_at_ms < ?
        AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.id = idempotency_keys.call))`;

const READ_KEY = `
  SELECT k.call AS call, k.body_hash AS body_hash, c.id AS opened, c.ended_at_ms AS ended_at_ms
  FROM idempotency_keys k LEFT JOIN calls c ON c.id = k.call WHERE k.scope = ?`;

/** Gives back a key whose call was refused before it was opened. */
const RELEASE_KEY = `
  DELETE FROM idempotency_keys WHERE scope = ? AND call = ?
    AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.id = idempotency_keys.call)`;

export function createIdempotencyKeys({ database }: LedgerParts): Pick<Ledger, 'claimKey' | 'releaseKey'> {
  return {
    async claimKey({ scope, bodyHash, call, nowMs, expiredBeforeMs, unopenedBeforeMs }): Promise<KeyClaim> {
      const claim = [scope, bodyHash, call, nowMs, expiredBeforeMs, unopenedBeforeMs];
      const [, , rows] = await database.batch([
        { sql: FORGET_EXPIRED, params: [expiredBeforeMs, FORGOTTEN_PER_BATCH] },
        { sql: CLAIM_KEY, params: claim },
        { sql: READ_KEY, params: [scope] },
      ]);
      const row = rows?.[0];
      if (row === undefined)
        throw new Error(`The key of call ${call} is not on record though it was just claimed.`);
      const owner = textOf(row, 'call');
      if (owner === call) return { kind: 'claimed' };
      const ended = textOrNull(row, 'opened') !== null && numberOrNull(row, 'ended_at_ms') !== null;
      return { kind: ended ? 'ended' : 'running', call: owner, bodyHash: textOf(row, 'body_hash') };
    },
    async releaseKey(scope, call) {
      await database.batch([{ sql: RELEASE_KEY, params: [scope, call] }]);
    },
  };
}
