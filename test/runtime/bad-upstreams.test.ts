/** Upstreams that are down, slow, cut off or wrong: each is a clear error in the caller's dialect or a correct bill. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listening, type Listening } from '../../src/simulator/http.ts';
import { delta, DONE, usageChunk } from '../support/chat.ts';
import { bytesOf } from '../support/chunks.ts';
import { type AdminCall, SERVICE_KEY, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { eventsOf, isUsageOnly, type Quirks, type ReplayServer, startReplay } from '../support/replay.ts';

/** Short enough for a test, long enough for a busy machine to answer in. */
const TIMEOUT_MS = 1_000;
const TIMEOUT = `${TIMEOUT_MS}ms`;
const MIB = 1024 * 1024;

const STREAM = `${['The fare', ' is', ' paid', '. Überall', ' 料金'].map((content) => delta({ content })).join('')}${usageChunk(1_234, 56)}${DONE}`;
const LONG = `${Array.from({ length: 10_000 }, (_, index) => delta({ content: ` ${index}` })).join('')}${usageChunk(7, 10_000)}${DONE}`;
const USAGE_ENDS = bytesOf(STREAM).length - DONE.length;

const QUIRKS: Readonly<Record<string, Quirks>> = {
  crlf: { crlf: true, chunks: 'bytes' },
  comments: { comments: true, chunks: { seed: 1, lengthMax: 9 } },
  'long-line': { longLine: true, chunks: { seed: 2, lengthMax: 50_000 } },
  gzip: { gzip: true, chunks: 'bytes' },
  'usage-twice': { usage: 'twice' },
};
const CUTS = [0, 1, 40, 150, 333, USAGE_ENDS - 60, USAGE_ENDS - 1, USAGE_ENDS, USAGE_ENDS + 6];
/** Leaves of the compressed stream most, and not its end. */
const GZIP_CUT = 20_000;
const WRONG_COUNTS = [-5, 3.5, '12', 9e15, null, [1]];

let replay: ReplayServer;
let wild: Wild;
let gateway: TestGateway;

beforeAll(async () => {
  replay = await startReplay();
  wild = await startWild();
  const stream = { status: 200, headers: { 'content-type': 'text/event-stream' } };
  replay.add('stream', { ...stream, body: bytesOf(STREAM) });
  replay.add('long', { ...stream, body: bytesOf(LONG) });
  for (const [index, count] of WRONG_COUNTS.entries()) {
    const usage = { prompt_tokens: 9, completion_tokens: count };
    const wrong = `data: ${JSON.stringify({ id: 'c1', choices: [], usage })}\n\n`;
    replay.add(`wrong-${index}`, { ...stream, body: bytesOf(delta({ content: 'Paid.' }) + wrong + DONE) });
    const message = { role: 'assistant', content: 'Paid.' };
    replay.add(`wrong-json-${index}`, {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: bytesOf(JSON.stringify({ id: 'c1', choices: [{ index: 0, message }], usage })),
    });
  }
  gateway = await startTestGateway({
    providers: providers(),
    config: { timeouts: { connect: TIMEOUT, first_byte: TIMEOUT, idle: TIMEOUT } },
  });
});
afterAll(async () => {
  await gateway.close();
  await wild.close();
  await replay.close();
});

const at = (baseUrl: string): unknown => ({ type: 'openai-compatible', base_url: baseUrl });

function providers(): Record<string, unknown> {
  const all: Record<string, unknown> = {
    down: at('http://127.0.0.1:1/v1'),
    wild: at(wild.url),
    replay: at(replay.baseUrl()),
  };
  for (const [name, quirks] of Object.entries(QUIRKS)) all[name] = at(replay.baseUrl(quirks));
  for (const cut of CUTS) all[`cut-${cut}`] = at(replay.baseUrl({ diesAt: cut }));
  all['gzip-cut'] = at(replay.baseUrl({ gzip: true, diesAt: GZIP_CUT }));
  all['dies-late'] = at(replay.baseUrl({ diesAt: bytesOf(STREAM).length }));
  return all;
}

interface Wild extends Listening {
  /** Bytes written by the reply that has no end. */
  written(): number;
}

/** What `flood` sends before its usage. */
const FLOOD_BYTES = 48 * MIB;

/** A server whose model says how it goes wrong: `silent` never answers, `line` and `json` never end, `flood` is long. */
async function startWild(): Promise<Wild> {
  let written = 0;
  const piece = 'x'.repeat(64 * 1024);
  const pour = (response: ServerResponse): void => {
    while (!response.destroyed) {
      written += piece.length;
      if (!response.write(piece)) return void response.once('drain', () => pour(response));
    }
  };
  const flood = (response: ServerResponse): void => {
    if (written === 0) response.writeHead(200, { 'content-type': 'text/event-stream' });
    while (written < FLOOD_BYTES) {
      written += piece.length;
      if (!response.write(delta({ content: piece })))
        return void response.once('drain', () => flood(response));
    }
    response.end(usageChunk(3, 4) + DONE);
  };
  const http = listening(
    createServer(async (request, response) => {
      let body = '';
      for await (const part of request) body += String(part);
      const { model } = JSON.parse(body) as { model: string };
      written = 0;
      if (model === 'silent') return;
      if (model === 'flood') return flood(response);
      const isLine = model === 'line';
      response.writeHead(200, { 'content-type': isLine ? 'text/event-stream' : 'application/json' });
      response.write(isLine ? 'data: {"choices":[{"delta":{"content":"' : '{"id":"');
      pour(response);
    }),
  );
  const url = `${await http.listen()}/v1`;
  return { ...http, url, written: () => written };
}

interface Got {
  readonly status: number;
  readonly text: string;
  /** The connection broke before the reply's end. */
  readonly broken: boolean;
  readonly code: string | undefined;
  readonly call: AdminCall;
}

/** Calls, reads what comes, and waits until everything is delivered. */
async function call(model: string, stream = true): Promise<Got> {
  const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': 'cus_demo' },
    body: JSON.stringify({ model, stream, messages: [{ role: 'user', content: 'What of the fare?' }] }),
  });
  let text = '';
  let broken = false;
  const decoder = new TextDecoder();
  try {
    for await (const bytes of reply.body ?? []) text += decoder.decode(bytes, { stream: true });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    broken = true;
  }
  await gateway.flushed();
  const id = reply.headers.get('x-request-id') ?? '';
  const { data } = await gateway.admin<{ data: AdminCall[] }>(`/calls?id=${id}`);
  const found = data[0];
  if (found === undefined) throw new Error(`no call ${id}`);
  return { status: reply.status, text, broken, code: errorOf(text)?.code, call: found };
}

/** The error of a JSON body, or of a stream's last event. */
function errorOf(text: string): { readonly code: string; readonly message: string } | undefined {
  const last = text.startsWith('{') ? text : (/data: (\{"error".*\})\n\n$/.exec(text)?.[1] ?? '{}');
  const parsed = JSON.parse(last) as { error?: { code: string; message: string } };
  return parsed.error;
}

const usage = ({ call: { usage: counted } }: Got): unknown => ({
  input: counted?.['input_tokens'],
  output: counted?.['output_tokens'],
});

describe('an upstream that', () => {
  it('is down is a 502 that names the provider, and costs nothing', async () => {
    const got = await call('down/any');
    expect(got).toMatchObject({ status: 502, code: 'upstream_error', broken: false });
    expect(errorOf(got.text)?.message).toContain('"down" could not be reached');
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'none', events: [] });
  });

  it('hangs up without an answer is a 502, and costs nothing', async () => {
    const got = await call('demo/hangs-up');
    expect(got).toMatchObject({ status: 502, code: 'upstream_error' });
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'none', events: [] });
  });

  it('does not answer in time is a 504, and costs nothing', async () => {
    const got = await call('wild/silent');
    expect(got).toMatchObject({ status: 504, code: 'upstream_timeout' });
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'none', events: [] });
  });

  it('stalls in its stream ends it with an error event and a break, and what was seen is billed', async () => {
    const got = await call('demo/stalls');
    expect(got).toMatchObject({ status: 200, code: 'upstream_timeout', broken: true });
    expect(got.text).not.toContain('[DONE]');
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'estimated' });
    expect(got.call.events.map(({ state }) => state)).toEqual(['accepted', 'accepted']);
  });

  it.each(CUTS)(
    'breaks off its stream after %i bytes is told as broken, and billed by the evidence',
    async (cut) => {
      const got = await call(`cut-${cut}/stream`);
      expect(got.code).toBe('upstream_error');
      expect(got.broken).toBe(got.status === 200);
      expect(got.text).not.toContain('[DONE]');
      const seen = bytesOf(STREAM).subarray(0, cut);
      const whole = eventsOf(new TextDecoder().decode(seen)).filter((event) => event.endsWith('\n\n'));
      if (got.status === 200)
        expect(got.text.startsWith(whole.filter((e) => !isUsageOnly(e)).join(''))).toBe(true);
      expect(got.call.outcome).toBe('upstream_broke');
      if (cut >= USAGE_ENDS) {
        expect(got.call.usage_source).toBe('reported');
        expect(usage(got)).toEqual({ input: 1_234, output: 56 });
      } else {
        if (got.status === 200) expect(got.call.usage_source).toBe('estimated');
        expect(got.call.usage?.['output_tokens']).toBeLessThanOrEqual(56);
      }
    },
  );

  it('breaks off a compressed stream is told as broken, after all that came before', async () => {
    const got = await call('gzip-cut/long');
    expect(got).toMatchObject({ status: 200, code: 'upstream_error', broken: true });
    expect(errorOf(got.text)?.message).toContain('broke off its reply');
    const content = got.text.slice(0, got.text.lastIndexOf('data: '));
    expect(content.length).toBeGreaterThan(100_000);
    expect(LONG.startsWith(content.trimEnd())).toBe(true);
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'estimated' });
  });

  it('breaks off after the end marker has given a whole reply', async () => {
    const got = await call('dies-late/stream');
    expect(got).toMatchObject({ status: 200, broken: false, code: undefined });
    expect(got.text.endsWith(DONE)).toBe(true);
    expect(got.call).toMatchObject({ outcome: 'finished', usage_source: 'reported' });
    expect(usage(got)).toEqual({ input: 1_234, output: 56 });
  });
});

describe('a caller who does not read', () => {
  it('holds the provider back, and when he leaves the rest is read and billed', async () => {
    const request = httpRequest(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': 'cus_demo' },
    });
    request.end(JSON.stringify({ model: 'wild/flood', stream: true, messages: [] }));
    const [reply] = (await once(request, 'response')) as [IncomingMessage];
    reply.on('error', () => undefined);
    // Twice the time after which a provider would be too silent: one who is held back is not.
    for (let before = -1; before !== wild.written();) {
      before = wild.written();
      await new Promise((resolve) => setTimeout(resolve, 2 * TIMEOUT_MS));
    }
    expect(wild.written()).toBeLessThan(24 * MIB);
    request.on('error', () => undefined);
    reply.destroy();
    await gateway.flushed();
    expect(wild.written()).toBe(FLOOD_BYTES);
    const id = String(reply.headers['x-request-id']);
    const { data } = await gateway.admin<{ data: AdminCall[] }>(`/calls?id=${id}`);
    expect(data).toMatchObject([{ outcome: 'caller_left', usage_source: 'reported' }]);
    expect(data[0]?.usage).toMatchObject({ input_tokens: 3, output_tokens: 4 });
  });
});

describe('a reply', () => {
  it('with a line that never ends is broken off at the bound, not kept', async () => {
    const got = await call('wild/line');
    expect(got).toMatchObject({ status: 502, code: 'upstream_error', broken: false });
    expect(got.text.length).toBeLessThan(1_000);
    expect(wild.written()).toBeLessThan(80 * MIB);
    expect(got.call).toMatchObject({ outcome: 'upstream_broke', usage_source: 'estimated' });
  });

  it('that is JSON without an end is a 502 at the bound', async () => {
    const got = await call('wild/json', false);
    expect(got).toMatchObject({ status: 502, code: 'upstream_error' });
    expect(wild.written()).toBeLessThan(80 * MIB);
    expect(got.call.outcome).toBe('upstream_broke');
  });

  it.each(WRONG_COUNTS.map((count, index) => [JSON.stringify(count), index]))(
    'that counts %s output tokens is estimated, plain or streamed',
    async (_count, index) => {
      for (const model of [`wrong-${index}`, `wrong-json-${index}`]) {
        const stream = !model.includes('json');
        const got = await call(`replay/${model}`, stream);
        expect(got).toMatchObject({ status: 200, broken: false, code: undefined });
        expect(got.text).toContain('Paid.');
        expect(got.call).toMatchObject({ outcome: 'finished', usage_source: 'estimated' });
        expect(usage(got)).toEqual({ input: expect.any(Number), output: 2 });
        expect(got.call.events.map(({ token_type: type, value }) => [type, value]).sort()).toEqual([
          ['input', String(got.call.usage?.['input_tokens'])],
          ['output', '2'],
        ]);
      }
    },
  );

  it('of 10,000 events arrives whole and is billed as reported', async () => {
    const got = await call('replay/long');
    const due = eventsOf(LONG).filter((event) => !isUsageOnly(event));
    expect(got.text === due.join('')).toBe(true);
    expect(got.call.usage_source).toBe('reported');
    expect(usage(got)).toEqual({ input: 7, output: 10_000 });
  });

  it.each(Object.keys(QUIRKS))('arrives as it was sent and is billed as reported: %s', async (name) => {
    const got = await call(`${name}/stream`);
    const sent = new TextDecoder().decode(replay.sent('stream', QUIRKS[name]));
    const due = eventsOf(sent).filter((event) => !isUsageOnly(event));
    expect(got.text === due.join('')).toBe(true);
    expect(got.call.usage_source).toBe('reported');
    expect(usage(got)).toEqual({ input: 1_234, output: 56 });
  });
});
