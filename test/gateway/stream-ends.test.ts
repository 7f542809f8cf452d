/** How streams end: what an upstream does after its end marker, or instead of it, and what the caller sees. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { delta, DONE, usageChunk } from '../support/chat.ts';
import { callThrough, type Got } from '../support/call.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

const WHOLE = delta({ content: 'Paid.' }) + usageChunk(9, 2) + DONE;

/** Says everything and hangs on. */
const staysOpen =
  (text: string): Script =>
  ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(text);
  };

const SCRIPTS: Readonly<Record<string, Script>> = {
  'stays-open': staysOpen(WHOLE),
};

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

const chat = (model: string): Promise<Got> => callThrough(gateway, { model: `odd/${model}`, stream: true });

describe('an upstream that keeps its connection open after the end marker', () => {
  it('does not keep the caller, is closed, and is billed as it reported', async () => {
    const startedAt = performance.now();
    const got = await chat('stays-open');
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(got).toMatchObject({ status: 200, broken: false });
    expect(got.text).toBe(delta({ content: 'Paid.' }) + DONE);
    await upstream.closed();
    expect(got.call).toMatchObject({ outcome: 'finished', usage_source: 'reported' });
  });
});
