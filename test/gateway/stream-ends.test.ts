/** How streams end: what an upstream does after its end marker, or instead of it, and what the caller sees. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { delta, DONE, event, usageChunk } from '../support/chat.ts';
import { callThrough, type Got } from '../support/call.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, sse, startScripted } from '../support/scripted.ts';

const WHOLE = delta({ content: 'Paid.' }) + usageChunk(9, 2) + DONE;

/** Says everything and hangs on. */
const staysOpen =
  (text: string): Script =>
  ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(text);
  };

const SAID = delta({ content: 'Paid' });
const STOPPED = event({ id: 'c1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const RUNNING = event({
  id: 'c1',
  choices: [{ index: 0, delta: { content: '.' } }],
  usage: { prompt_tokens: 9, completion_tokens: 1 },
});
const ERROR = event({ error: { message: 'The model fell over', code: 'overloaded' } });
const named = (type: string, more: object = {}): string => `event: ${type}\n${event({ type, ...more })}`;
const STARTED = named('message_start', {
  message: { id: 'msg_1', model: 'm', usage: { input_tokens: 9, output_tokens: 1 } },
});
const SPOKEN = named('content_block_delta', { delta: { type: 'text_delta', text: 'Paid.' } });
const part = (text: string, more: object = {}): object => ({
  candidates: [{ content: { parts: [{ text }] }, ...more }],
  usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 2 },
});

const SCRIPTS: Readonly<Record<string, Script>> = {
  'stays-open': staysOpen(WHOLE),
  'error-and-end': sse(SAID + ERROR),
  'error-alone': sse(ERROR),
  'error-unfinished': sse(SAID + ERROR.trimEnd()),
  'error-then-done': sse(SAID + ERROR + DONE),
  'merely-ends': sse(SAID + SAID),
  'merely-ends-counted': sse(SAID + RUNNING),
  'stops-without-done': sse(SAID + STOPPED),
  'counts-without-done': sse(SAID + usageChunk(9, 2)),
  nothing: sse(''),
  'claude-merely-ends': sse(STARTED + SPOKEN),
  'claude-error': sse(STARTED + named('error', { error: { type: 'overloaded_error', message: 'Busy' } })),
  'responses-merely-ends': sse(named('response.output_text.delta', { delta: 'Paid' })),
  'responses-error': sse(named('error', { code: 'server_error', message: 'Oh' })),
  'responses-error-bare': sse(ERROR + DONE),
  'responses-failed': sse(
    named('response.failed', { response: { id: 'r1', status: 'failed', error: { code: 'server_error' } } }),
  ),
  'gemini-merely-ends': sse(event(part('Paid'))),
  'gemini-stops': sse(event(part('Paid', { finishReason: 'STOP' }))),
  'gemini-error': sse(event(part('Paid')) + event({ error: { code: 500, status: 'INTERNAL' } })),
  'gemini-array-cut': ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(`[${JSON.stringify(part('Paid'))}\n`);
  },
};

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted(SCRIPTS);
  gateway = await startTestGateway({
    providers: {
      odd: { type: 'openai-compatible', base_url: `${upstream.url}/v1` },
      claude: { type: 'anthropic', base_url: upstream.url, api_key: 'x' },
      gemini: { type: 'google', base_url: upstream.url, api_key: 'x' },
    },
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

/** Whichever route the script belongs to. */
function ask(script: string): Promise<Got> {
  const stream = true;
  if (script.startsWith('claude')) {
    return callThrough(gateway, { model: `claude/${script}`, stream, path: '/v1/messages' });
  }
  if (script.startsWith('responses')) {
    return callThrough(gateway, { model: `odd/${script}`, stream, path: '/v1/responses' });
  }
  if (!script.startsWith('gemini')) return chat(script);
  const path = `/v1beta/models/gemini%2F${script}:streamGenerateContent`;
  return callThrough(gateway, { model: script, path: script.includes('array') ? path : `${path}?alt=sse` });
}

describe("a stream whose last word is the provider's own error", () => {
  it.each([
    ['error-and-end', SAID + ERROR, 'estimated'],
    ['error-alone', ERROR, 'none'],
    ['error-unfinished', SAID + ERROR.trimEnd(), 'estimated'],
    ['claude-error', undefined, 'estimated'],
    ['responses-error', undefined, 'none'],
    ['responses-error-bare', ERROR + DONE, 'none'],
    ['gemini-error', undefined, 'reported'],
  ])('passes it on and breaks the connection: %s', async (script, text, source) => {
    const got = await ask(script);
    expect(got).toMatchObject({ status: 200, broken: true });
    if (text !== undefined) expect(got.text).toBe(text);
    expect(got.text.match(/error"/g)?.length).toBeGreaterThan(0);
    expect(got.text).not.toContain('upstream_error');
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: source });
  });

  it('ends as the provider ends it where he does', async () => {
    const got = await chat('error-then-done');
    expect(got).toMatchObject({ status: 200, broken: false, text: SAID + ERROR + DONE });
    const failed = await ask('responses-failed');
    expect(failed).toMatchObject({ status: 200, broken: false });
    expect(failed.text).toContain('response.failed');
  });
});

describe('a stream that merely ends', () => {
  it.each([
    ['merely-ends', 'estimated'],
    ['merely-ends-counted', 'estimated'],
    ['claude-merely-ends', 'estimated'],
    ['responses-merely-ends', 'estimated'],
    ['gemini-merely-ends', 'estimated'],
    ['gemini-array-cut', 'estimated'],
    ['nothing', 'none'],
  ])('is told as broken: %s', async (script, source) => {
    const got = await ask(script);
    // What has not begun can still be told by its status.
    expect(got).toMatchObject(
      script === 'nothing' ? { status: 502, broken: false } : { status: 200, broken: true },
    );
    expect(got.text).toContain(script === 'nothing' ? 'without a byte of body' : 'without its end marker');
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: source });
  });

  it.each(['stops-without-done', 'counts-without-done', 'gemini-stops'])(
    'is whole where a reason to stop or a last count was told: %s',
    async (script) => {
      const got = await ask(script);
      expect(got).toMatchObject({ status: 200, broken: false, call: { outcome: 'finished' } });
      expect(got.text).not.toContain('error');
    },
  );
});
