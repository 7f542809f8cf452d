/** A call whose end the ledger cannot take: what the caller of a stream sees, and what becomes of the calls of others. */
import { once } from 'node:events';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { delta, DONE, event, usageChunk } from '../support/chat.ts';
import { ask, callOf, callThrough } from '../support/call.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, sse, startScripted } from '../support/scripted.ts';

const SAID = delta({ content: 'Paid' });
const STOPPED = event({ id: 'c1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const END = STOPPED + usageChunk(9, 2) + DONE;

/** Alters the ledger from outside, as another process would. */
function alter(sql: string): void {
  const ledger = new DatabaseSync(gateway.file, { timeout: 5_000 });
  ledger.exec(sql);
  ledger.close();
}
const refuse = (of: string): void =>
  alter(
    `CREATE TRIGGER no_end BEFORE UPDATE OF ended_at_ms ON calls WHEN ${of} BEGIN SELECT RAISE(ABORT, 'no'); END`,
  );
const release = (): void => alter('DROP TRIGGER no_end');
/** From when it is asked until the caller has his reply, no call's end can be written. */
const refusing =
  (script: Script): Script =>
  async (exchange) => {
    refuse('TRUE');
    await script(exchange);
  };
const whole: Script = ({ response }) => {
  const body = { id: 'c1', choices: [], usage: { prompt_tokens: 9, completion_tokens: 2 } };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};
/** Behind the end marker: more than sockets keep, and what was written of it. */
const FLOOD_MAX = 64 * 1024 * 1024;
const COMMENT = `: ${'x'.repeat(65_536)}\n\n`;
let flooded = 0;
let locked: DatabaseSync;
const SCRIPTS: Readonly<Record<string, Script>> = {
  floods: async ({ response }) => {
    locked = new DatabaseSync(gateway.file, { timeout: 5_000 });
    locked.exec('BEGIN IMMEDIATE');
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(SAID + END);
    while (flooded < FLOOD_MAX) {
      flooded += COMMENT.length;
      if (response.write(COMMENT)) continue;
      const taken = once(response, 'drain', { signal: AbortSignal.timeout(300) }).catch(() => undefined);
      if ((await taken) === undefined) break;
    }
    locked.close();
    response.end();
  },
  stuck: whole,
  next: whole,
  'all-at-once': refusing(sse(SAID + END)),
  'end-apart': refusing(async ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(SAID);
    await content;
    response.end(END);
  }),
};

/** Settled once the caller of `end-apart` has the content, or does not get it. */
let content: Promise<string>;
let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted(SCRIPTS);
  gateway = await startTestGateway({
    providers: { odd: { type: 'openai-compatible', base_url: `${upstream.url}/v1` } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

/** One call that cannot be settled while its caller reads: he has the words, an error, and no end; it is billed later. */
async function unsettled(model: string, first?: (text: string) => void): Promise<void> {
  const got = await callThrough(gateway, { model, stream: true, first, seen: release });
  expect(got).toMatchObject({ status: 200, broken: true });
  expect(got.text.startsWith(SAID + STOPPED)).toBe(true);
  expect(got.text).toContain('ledger_unavailable');
  expect(got.text).not.toContain('[DONE]');
  expect(got.call).toMatchObject({ outcome: 'finished', usage_source: 'reported' });
}

it('is given all but the end marker, and an error, where all of it came in one read', async () => {
  await unsettled('odd/all-at-once');
});

it('is given what was said before at once, and what came with the end before the error', async () => {
  const first = Promise.withResolvers<string>();
  content = first.promise;
  await unsettled('odd/end-apart', first.resolve);
  expect(await content).toBe(SAID);
});

it('leaves at its provider what comes behind the end marker meanwhile', async () => {
  const got = await callThrough(gateway, { model: 'odd/floods', stream: true });
  expect(flooded).toBeLessThan(FLOOD_MAX);
  expect(got).toMatchObject({ status: 200, broken: false });
  expect(got.text.startsWith(SAID + STOPPED + DONE)).toBe(true);
  expect(got.call).toMatchObject({ outcome: 'finished', usage_source: 'reported' });
});

it('holds up no other call, and no delivery', async () => {
  refuse(`OLD.model LIKE '%stuck'`);
  const stuck = await ask(gateway, { model: 'odd/stuck' });
  expect(stuck.status).toBe(503);
  const next = await ask(gateway, { model: 'odd/next' });
  expect(next.status).toBe(200);
  await gateway.admin('/flush', { method: 'POST' });
  const failures = gateway.log.filter(({ event: name }) => name === 'settlement_failed');
  const id = stuck.headers.get('x-request-id');
  expect(failures.filter(({ request_id: of }) => of === id).length).toBeGreaterThan(1);
  expect((await callOf(gateway, stuck)).state).toBe('open');
  const accepted = { events: [{ state: 'accepted' }, { state: 'accepted' }] };
  expect(await callOf(gateway, next)).toMatchObject(accepted);
  release();
  await gateway.flushed();
  expect(await callOf(gateway, stuck)).toMatchObject(accepted);
});
