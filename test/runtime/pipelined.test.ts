/** Requests sent behind each other on one connection: every reply is whole, in turn, and broken where it breaks. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { delta, DONE, usageChunk } from '../support/chat.ts';
import { CUSTOMER, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, sse, startScripted } from '../support/scripted.ts';

const CHAT = JSON.stringify({
  id: 'c1',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Paid.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 2 },
});
const after =
  (ms: number, body = CHAT): Script =>
  async ({ response }) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    response.writeHead(200, { 'content-type': 'application/json' }).end(body);
  };
const SCRIPTS: Readonly<Record<string, Script>> = {
  slow: after(400),
  later: after(120),
  cut: ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(delta({ content: 'Paid' }), () => setTimeout(() => response.destroy(), 50));
  },
  stream: sse(delta({ content: 'Paid.' }) + usageChunk(9, 2) + DONE),
};

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted(SCRIPTS);
  gateway = await startTestGateway({
    providers: { odd: { type: 'openai-compatible', base_url: `${upstream.url}/v1` } },
    config: { retries: { max: 0 } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

function request(model: string): string {
  const body = JSON.stringify({
    model: `odd/${model}`,
    messages: [],
    stream: !['slow', 'later'].includes(model),
  });
  return [
    'POST /v1/chat/completions HTTP/1.1',
    'host: gateway.test',
    `authorization: Bearer ${SERVICE_KEY}`,
    `x-stripe-customer-id: ${CUSTOMER}`,
    `content-length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}

/** Sends them at once; answers what came until the gateway closed. `half`: the caller closes his half behind them. */
function exchange(models: readonly string[], half: boolean): Promise<string> {
  return new Promise((resolve) => {
    const { port, hostname } = new URL(gateway.url);
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    let got = '';
    socket.on('data', (bytes) => (got += bytes.toString()));
    socket.on('end', () => socket.end());
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(got));
    const text = models.map(request).join('');
    if (half) socket.end(text);
    else socket.write(text);
  });
}

const OK = 'HTTP/1.1 200';
const statuses = (text: string): readonly string[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1] ?? '').filter((status) => status !== '102');

describe('requests behind each other on one connection', () => {
  it('are answered in turn where the caller closes his half behind them', async () => {
    const text = await exchange(['slow', 'later', 'stream'], true);
    expect(statuses(text)).toEqual(['200', '200', '200']);
    const [, second = '', third = ''] = text.slice(text.indexOf(OK)).split(/(?=HTTP\/1\.1 200)/);
    // What asks whether he still reads stands between the replies, never in one.
    const body = second.slice(second.indexOf('\r\n\r\n') + 4);
    expect(body.replace(/(HTTP\/1\.1 102[^]*?\r\n\r\n)+$/, '')).toBe(CHAT);
    expect(third).toContain('data: [DONE]');
    await gateway.flushed();
    expect(new Set((await gateway.calls()).map(({ outcome }) => outcome))).toEqual(new Set(['finished']));
  });

  it('end with a broken connection where the last of them breaks', async () => {
    const text = await exchange(['slow', 'cut'], false);
    expect(statuses(text)).toEqual(['200', '200']);
    expect(text).toContain('"code":"upstream_error"');
    expect(text.endsWith('0\r\n\r\n')).toBe(false);
  }, 5_000);
});
