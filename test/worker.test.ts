import { expect, it, vi } from 'vitest';
import type { DurableObjectNamespace, DurableObjectState } from 'cloudflare:workers';
import worker, { FaregateObject } from '../src/worker.ts';

vi.mock('cloudflare:workers', () => ({
  DurableObject: class {
    readonly ctx: unknown;
    readonly env: unknown;
    constructor(ctx: unknown, env: unknown) {
      this.ctx = ctx;
      this.env = env;
    }
  },
}));

const id = { equals: () => false };
const OBJECTS: DurableObjectNamespace<never> = {
  idFromName: () => id,
  get() {
    throw new Error('Nobody else is asked.');
  },
};

it('an object that cannot be made, over a wrong configuration, fails no alarm and sets another: only so many are tried again', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 });
  vi.spyOn(console, 'error').mockReturnValue();
  const alarms: number[] = [];
  const context: DurableObjectState = {
    id,
    storage: {
      sql: { exec: () => ({ toArray: () => [] }) },
      transactionSync: <T>(work: () => T): T => work(),
      sync: async () => undefined,
      async setAlarm(atMs: number) {
        alarms.push(atMs);
      },
    },
    waitUntil: () => undefined,
    blockConcurrencyWhile: (work) => work(),
  };
  const object = new FaregateObject(context, { OBJECTS, STRIPE_SECRET_KEY: '' });
  await object.alarm();
  expect(alarms).toEqual([1_008_000]);
  expect(vi.mocked(console.error).mock.calls.join()).toContain('STRIPE_SECRET_KEY: is required');
  await expect(object.fetch(new Request('https://object/readyz'))).rejects.toThrow('STRIPE_SECRET_KEY');
});

it('a start tells what is doubtful of the configuration, as the command does', async () => {
  const said = vi.spyOn(console, 'log').mockReturnValue();
  const FAREGATE_YAML = 'prices:\n  anthropic/claude-sonnet-4-5-20250929: { input: 3, output: 15 }\n';
  const env = { OBJECTS, STRIPE_SECRET_KEY: 'sk_test_x', ANTHROPIC_API_KEY: 'x', FAREGATE_YAML };
  const reply = await worker.fetch(new Request('https://gate.example/healthz'), env);
  expect(reply.status).toBe(200);
  const told = said.mock.calls.join('\n');
  expect(told).toContain('STRIPE_WEBHOOK_SECRET');
  expect(told).toContain('anthropic/claude-sonnet-4.5');
});
