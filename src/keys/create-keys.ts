/** API keys in the table `api_keys`: only the SHA-256 of a secret is kept, and the secret is shown once. */
import type { Database, Row } from '../ledger/ledger.ts';
import type { Crypto } from '../runtime.ts';
import { createCache } from './cache.ts';
import type { ApiKey, KeyLimits, Keys } from './keys.ts';
import { createSecret, isSecret } from './secret.ts';

export interface KeysOptions {
  readonly database: Database;
  readonly crypto: Crypto;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The service key given from outside; null when there is none. */
  readonly serviceKey: string | null;
  /** False where a promise must not pass from one request to another; look-ups of one secret then do not join. */
  readonly joinsReads?: boolean;
}

/** Nothing longer is hashed: a key given from outside has 512 characters at most, ours have 60. */
const SECRET_CHARS_MAX = 512;
/** How long another process's revocation may go unseen here. */
const KNOWN_TTL_MS = 5000;
const KNOWN_MAX = 10_000;
/** A key made by another process works within a second, although it was tried before. */
const UNKNOWN_TTL_MS = 1000;
const UNKNOWN_MAX = 1000;
/** One page for an operator; past it he asks by customer. */
const LIST_MAX = 10_000;

const COLUMNS =
  'id, customer, label, created_at_ms, expires_at_ms, revoked_at_ms, last4, rpm, tpm, concurrency';
const LIVE = 'revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > CAST(? AS BIGINT))';
/** On the request path, by the unique index on the hash. */
const FIND = `SELECT ${COLUMNS} FROM api_keys WHERE hash = ? AND ${LIVE}`;
const BY_ID = `SELECT ${COLUMNS} FROM api_keys WHERE id = ?`;
const INSERT = `INSERT INTO api_keys (id, hash, customer, label, created_at_ms, expires_at_ms, revoked_at_ms, last4,
  rpm, tpm, concurrency)
  VALUES (?, ?, ?, ?, CAST(? AS BIGINT), NULL, NULL, ?, ?, ?, ?)`;
/** Copies customer, label and limits of a key that is still good; inserts nothing otherwise. */
const INSERT_SUCCESSOR = `INSERT INTO api_keys (id, hash, customer, label, created_at_ms, expires_at_ms, revoked_at_ms, last4,
  rpm, tpm, concurrency)
  SELECT CAST(? AS TEXT), CAST(? AS TEXT), customer, label, CAST(? AS BIGINT), NULL, NULL, CAST(? AS TEXT),
    rpm, tpm, concurrency
  FROM api_keys WHERE id = ? AND ${LIVE}`;
/** Never lengthens a life: a key that is rotated twice keeps its earlier end. */
const EXPIRE = `UPDATE api_keys SET expires_at_ms = CAST(? AS BIGINT)
  WHERE id = ? AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > CAST(? AS BIGINT))`;
const REVOKE = `UPDATE api_keys SET revoked_at_ms = CAST(? AS BIGINT) WHERE id = ? AND revoked_at_ms IS NULL`;
const LIST = `SELECT ${COLUMNS} FROM api_keys ORDER BY created_at_ms DESC, id LIMIT ${String(LIST_MAX)}`;
const LIST_OF_CUSTOMER = `SELECT ${COLUMNS} FROM api_keys WHERE customer = ? ORDER BY created_at_ms DESC, id LIMIT ${String(LIST_MAX)}`;

export function createKeys(options: KeysOptions): Keys {
  const { database, crypto, now } = options;
  const lookup = createLookup(options);
  return {
    find: lookup.find,
    async create({ customer, label, limits = {} }) {
      const { id, secret } = createSecret(crypto);
      const last4 = secret.slice(-4);
      const createdAtMs = now();
      const own = LIMIT_NAMES.map((name) => (limits[name] === null ? NO_LIMIT : (limits[name] ?? null)));
      const params = [id, crypto.sha256(secret), customer, label, createdAtMs, last4, ...own];
      await database.batch([{ sql: INSERT, params }]);
      lookup.forget();
      const key = { id, customer, label, limits, createdAtMs, expiresAtMs: null, revokedAtMs: null, last4 };
      return { key, secret };
    },
    async list(customer) {
      const statement =
        customer === undefined ? { sql: LIST, params: [] } : { sql: LIST_OF_CUSTOMER, params: [customer] };
      const [rows] = await database.batch([statement]);
      return (rows ?? []).map(toKey);
    },
    async rotate(id, overlapMs) {
      const next = createSecret(crypto);
      const nowMs = now();
      const endMs = nowMs + Math.max(0, Math.floor(overlapMs));
      const params = [next.id, crypto.sha256(next.secret), nowMs, next.secret.slice(-4), id, nowMs];
      const [, , made] = await database.batch([
        { sql: INSERT_SUCCESSOR, params },
        { sql: EXPIRE, params: [endMs, id, endMs] },
        { sql: BY_ID, params: [next.id] },
      ]);
      lookup.forget();
      const row = made?.[0];
      return row === undefined ? undefined : { key: toKey(row), secret: next.secret };
    },
    async revoke(id) {
      const [, found] = await database.batch([
        { sql: REVOKE, params: [now(), id] },
        { sql: BY_ID, params: [id] },
      ]);
      lookup.forget();
      return found?.[0] !== undefined;
    },
  };
}

interface Lookup {
  readonly find: Keys['find'];
  /** Everything remembered is asked for again: a key was made, rotated or revoked here. */
  readonly forget: () => void;
}

/** `find`, which every request passes: one hash, then memory; the database at most once in five seconds and key. */
function createLookup({ database, crypto, now, serviceKey, joinsReads = true }: KeysOptions): Lookup {
  const known = createCache<ApiKey>({ entriesMax: KNOWN_MAX, ttlMs: KNOWN_TTL_MS });
  // Apart from the known ones, so that no flood of wrong secrets pushes out a right one.
  const unknown = createCache<true>({ entriesMax: UNKNOWN_MAX, ttlMs: UNKNOWN_TTL_MS });
  const reads = new Map<string, Promise<ApiKey | undefined>>();
  let epoch = 0;

  const read = async (hash: string): Promise<ApiKey | undefined> => {
    const startedIn = epoch;
    const [rows] = await database.batch([{ sql: FIND, params: [hash, now()] }]);
    const row = rows?.[0];
    const key = row === undefined ? undefined : toKey(row);
    // What was read before a revocation must not be remembered after it.
    if (startedIn !== epoch) return key;
    if (key === undefined) unknown.put(hash, true, now());
    else known.put(hash, key, now());
    return key;
  };
  const readOnce = (hash: string): Promise<ApiKey | undefined> => {
    const running = reads.get(hash);
    if (running !== undefined) return running;
    const started = read(hash).finally(() => {
      if (reads.get(hash) === started) reads.delete(hash);
    });
    reads.set(hash, started);
    return started;
  };
  return {
    async find(secret) {
      if (secret.length > SECRET_CHARS_MAX) return undefined;
      if (serviceKey !== null && crypto.equal(secret, serviceKey)) return outsideKey(secret);
      const hash = crypto.sha256(secret);
      const nowMs = now();
      const key = known.find(hash, nowMs);
      if (key !== undefined) return isExpired(key, nowMs) ? undefined : key;
      if (!isSecret(secret, crypto) || unknown.find(hash, nowMs) === true) return undefined;
      return joinsReads ? readOnce(hash) : read(hash);
    },
    forget() {
      epoch += 1;
      known.clear();
      unknown.clear();
      reads.clear();
    },
  };
}

const LIMIT_NAMES = ['rpm', 'tpm', 'concurrency'] as const;
/** How "no limit" is written down; null in the table is the configuration's limit. */
const NO_LIMIT = 0;

function limitsOf(row: Row): Partial<KeyLimits> {
  const limits: Partial<Record<keyof KeyLimits, number | null>> = {};
  for (const name of LIMIT_NAMES) {
    const value = numberOrNull(row[name]);
    if (value !== null) limits[name] = value === NO_LIMIT ? null : value;
  }
  return limits;
}

const outsideKey = (secret: string): ApiKey => ({
  id: 'env',
  customer: null,
  label: 'FAREGATE_SERVICE_KEY',
  createdAtMs: 0,
  expiresAtMs: null,
  revokedAtMs: null,
  last4: secret.slice(-4),
});

const isExpired = (key: ApiKey, nowMs: number): boolean =>
  key.expiresAtMs !== null && key.expiresAtMs !== undefined && key.expiresAtMs <= nowMs;

/** Postgres gives its 64-bit integers as text; these are all below 2^53. */
const toKey = (row: Row): ApiKey => ({
  id: String(row['id']),
  customer: textOrNull(row['customer']),
  label: String(row['label']),
  limits: limitsOf(row),
  createdAtMs: Number(row['created_at_ms']),
  expiresAtMs: numberOrNull(row['expires_at_ms']),
  revokedAtMs: numberOrNull(row['revoked_at_ms']),
  last4: String(row['last4']),
});
const textOrNull = (value: Row[string] | undefined): string | null => (value == null ? null : String(value));
const numberOrNull = (value: Row[string] | undefined): number | null =>
  value == null ? null : Number(value);
