import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { createKeys } from '../../src/keys/create-keys.ts';
import { isSecret } from '../../src/keys/secret.ts';
import type { Database, Row } from '../../src/ledger/ledger.ts';
import { createNodeCrypto } from '../../src/platform/crypto.ts';

const SERVICE_KEY = 'service-key-from-outside-0123456789abcdef';
const crypto = createNodeCrypto();

/** Keys over a table in memory, with a clock to turn and a count of the batches that reached the table. */
function setUp() {
  const sqlite = new DatabaseSync(':memory:');
  sqlite.exec(`CREATE TABLE api_keys (id TEXT NOT NULL PRIMARY KEY, hash TEXT NOT NULL UNIQUE, customer TEXT,
    label TEXT NOT NULL, created_at_ms BIGINT NOT NULL, expires_at_ms BIGINT, revoked_at_ms BIGINT, last4 TEXT NOT NULL, rpm BIGINT, tpm BIGINT, concurrency BIGINT)`);
  const world = { nowMs: 1_800_000_000_000, batches: 0, before: async () => {}, after: async () => {} };
  const database: Database = {
    async batch(statements) {
      world.batches += 1;
      await world.before();
      const answers = statements.map(({ sql, params }) => sqlite.prepare(sql).all(...params) as Row[]);
      await world.after();
      return answers;
    },
  };
  const open = () => createKeys({ database, crypto, now: () => world.nowMs, serviceKey: SERVICE_KEY });
  return { world, sqlite, keys: open(), open };
}
const wanted = { customer: 'cus_1', label: 'test' };

describe('a secret', () => {
  it('belongs to its key, and only its hash is kept', async () => {
    const { keys, sqlite } = setUp();
    const { key, secret } = await keys.create(wanted);
    expect(secret).toMatch(/^sk-fg-[0-9a-z]{54}$/);
    expect(secret).toContain(key.id);
    expect(await keys.find(secret)).toMatchObject({
      id: key.id,
      customer: 'cus_1',
      label: 'test',
      last4: secret.slice(-4),
    });
    expect(JSON.stringify(sqlite.prepare('SELECT * FROM api_keys').all())).not.toContain(
      secret.slice(14, -4),
    );
  });

  it('is never made twice', async () => {
    const { keys } = setUp();
    const made = await Promise.all(Array.from({ length: 200 }, () => keys.create(wanted)));
    expect(new Set(made.map(({ secret }) => secret)).size).toBe(200);
  });

  it('that is garbage or mistyped is refused without asking the database', async () => {
    const { keys, world } = setUp();
    const { secret } = await keys.create(wanted);
    const batches = world.batches;
    const mistyped = secret.slice(0, 20) + (secret[20] === 'a' ? 'b' : 'a') + secret.slice(21);
    for (const bad of [
      '',
      'sk-fg-',
      'sk-fg-' + 'a'.repeat(54),
      mistyped,
      secret.toUpperCase(),
      `${secret}a`,
      'x'.repeat(1_000_000),
    ]) {
      expect(await keys.find(bad)).toBeUndefined();
    }
    expect(world.batches).toBe(batches);
    expect(isSecret(secret, crypto)).toBe(true);
    expect(isSecret(mistyped, crypto)).toBe(false);
  });

  it('given from outside is a service key, without the database', async () => {
    const { keys, world } = setUp();
    expect(await keys.find(SERVICE_KEY)).toMatchObject({ id: 'env', customer: null });
    expect(await keys.find(`${SERVICE_KEY}x`)).toBeUndefined();
    expect(world.batches).toBe(0);
  });
});

describe('the memory of keys', () => {
  it('asks the database once in five seconds', async () => {
    const { keys, world } = setUp();
    const { secret } = await keys.create(wanted);
    const batches = world.batches;
    await Promise.all([keys.find(secret), keys.find(secret)]);
    await keys.find(secret);
    expect(world.batches - batches).toBe(1);
    world.nowMs += 5000;
    await keys.find(secret);
    expect(world.batches - batches).toBe(2);
  });

  it('sees a revocation made here at once, and one made elsewhere within five seconds', async () => {
    const { keys, world, open } = setUp();
    const other = open();
    const { key, secret } = await keys.create(wanted);
    await keys.find(secret);
    await other.find(secret);
    expect(await keys.revoke(key.id)).toBe(true);
    expect(await keys.find(secret)).toBeUndefined();
    world.nowMs += 5000;
    expect(await other.find(secret)).toBeUndefined();
  });

  it('does not keep what was read before a revocation and arrived after it', async () => {
    const { keys, world } = setUp();
    const { key, secret } = await keys.create(wanted);
    const held = Promise.withResolvers<void>();
    world.after = () => held.promise;
    const early = keys.find(secret);
    await Promise.resolve();
    world.after = async () => {};
    await keys.revoke(key.id);
    held.resolve();
    await early;
    expect(await keys.find(secret)).toBeUndefined();
  });

  it('remembers an unknown secret for a second only', async () => {
    const { keys, world, open } = setUp();
    const { secret } = await setUp().keys.create(wanted);
    expect(await keys.find(secret)).toBeUndefined();
    const batches = world.batches;
    expect(await keys.find(secret)).toBeUndefined();
    expect(world.batches).toBe(batches);
    world.nowMs += 1000;
    await keys.find(secret);
    expect(world.batches).toBe(batches + 1);
    expect(await open().find(secret)).toBeUndefined();
  });

  it('says so when the database fails, and remembers nothing of it', async () => {
    const { keys, world } = setUp();
    const { secret } = await keys.create(wanted);
    world.before = () => Promise.reject(new Error('disk full'));
    await expect(keys.find(secret)).rejects.toThrow('disk full');
    world.before = async () => {};
    expect(await keys.find(secret)).toBeDefined();
  });
});

describe('rotation', () => {
  it('gives a new secret for the same customer while the old one runs out', async () => {
    const { keys, world } = setUp();
    const old = await keys.create(wanted);
    await keys.find(old.secret);
    const next = await keys.rotate(old.key.id, 60_000);
    expect(next?.key).toMatchObject({ customer: 'cus_1', label: 'test' });
    expect(await keys.find(old.secret)).toBeDefined();
    expect(await keys.find(next?.secret ?? '')).toBeDefined();
    // Before the memory of it would have run out.
    world.nowMs += 59_000;
    await keys.find(old.secret);
    world.nowMs += 1000;
    expect(await keys.find(old.secret)).toBeUndefined();
  });

  it('without an overlap stops the old secret at once', async () => {
    const { keys } = setUp();
    const old = await keys.create(wanted);
    await keys.rotate(old.key.id, 0);
    expect(await keys.find(old.secret)).toBeUndefined();
  });

  it('never lengthens the life of a key that was rotated before', async () => {
    const { keys, world } = setUp();
    const old = await keys.create(wanted);
    await keys.rotate(old.key.id, 1000);
    await keys.rotate(old.key.id, 60_000);
    world.nowMs += 1000;
    expect(await keys.find(old.secret)).toBeUndefined();
  });

  it('of a key that is unknown or revoked makes nothing', async () => {
    const { keys } = setUp();
    const { key } = await keys.create(wanted);
    await keys.revoke(key.id);
    expect(await keys.rotate(key.id, 1000)).toBeUndefined();
    expect(await keys.rotate('nokey', 1000)).toBeUndefined();
    expect(await keys.list()).toHaveLength(1);
  });
});

describe('the list', () => {
  it('has the newest first, by customer when asked, with what has become of each', async () => {
    const { keys, world } = setUp();
    await keys.create(wanted);
    world.nowMs += 1;
    const service = await keys.create({ customer: null, label: 's' });
    await keys.revoke(service.key.id);
    expect((await keys.list()).map(({ customer }) => customer)).toEqual([null, 'cus_1']);
    expect(await keys.list('cus_1')).toHaveLength(1);
    expect((await keys.list())[0]?.revokedAtMs).toBe(world.nowMs);
    expect(await keys.revoke('nokey')).toBe(false);
  });
});
