/** What a caller of a stream sees while the ledger cannot take its call: content, and no end. */
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { delta, DONE, event, usageChunk } from '../support/chat.ts';
import { callThrough } from '../support/call.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, sse, startScripted } from '../support/scripted.ts';

const SAID = delta({ content: 'Paid' });
const STOPPED = event({ id: 'c1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const END = STOPPED + usageChunk(9, 2) + DONE;

let locked: DatabaseSync | undefined;
/** From when it is asked the ledger's file is another's, until the caller has his reply. */
const locking =
  (script: Script): Script =>
  async (exchange) => {
    locked = new DatabaseSync(gateway.file);
    locked.exec('BEGIN IMMEDIATE');
    await script(exchange);
  };
const SCRIPTS: Readonly<Record<string, Script>> = {
  'all-at-once': locking(sse(SAID + END)),
  'end-apart': locking(async ({ response }) => {
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

function release(): void {
  locked?.close();
  locked = undefined;
}

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
}, 30_000);

it('is given what was said before at once, and what came with the end before the error', async () => {
  const first = Promise.withResolvers<string>();
  content = first.promise;
  await unsettled('odd/end-apart', first.resolve);
  expect(await content).toBe(SAID);
}, 30_000);
