/** What an estimate covers, through a running gateway: text, reasoning, tools, every choice; plain and streamed alike. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callThrough } from '../support/call.ts';
import { DONE, event } from '../support/chat.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Script, type ScriptedUpstream, startScripted } from '../support/scripted.ts';

const TEXT = { content: 'The fare is paid at the gate.' };
const THOUGHT = { reasoning_content: 'Somebody asks for the fare, so the gate must be named.' };
const NAME = { tool_calls: [{ index: 0, id: 'c', function: { name: 'look_up_the_fare', arguments: '' } }] };
const ARGUMENTS = {
  tool_calls: [
    { index: 0, id: 'c', function: { name: 'look_up_the_fare', arguments: '{"zone":"two","day":"Monday"}' } },
  ],
};

/** What the choices of a reply say; each has more than the one before. */
const REPLIES = {
  text: [TEXT],
  thought: [{ ...TEXT, ...THOUGHT }],
  tool: [{ ...TEXT, ...THOUGHT, ...NAME }],
  arguments: [{ ...TEXT, ...THOUGHT, ...ARGUMENTS }],
  choices: [{ ...TEXT, ...THOUGHT, ...ARGUMENTS }, TEXT],
} as const;

const says =
  (messages: readonly object[]): Script =>
  ({ response, body }) => {
    if (!body.includes('"stream":true')) {
      const choices = messages.map((message, index) => ({ index, message, finish_reason: 'stop' }));
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end(JSON.stringify({ id: 'c1', choices }));
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const [index, delta] of messages.entries()) {
      response.write(event({ id: 'c1', choices: [{ index, delta, finish_reason: 'stop' }] }));
    }
    response.end(DONE);
  };

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScripted(
    Object.fromEntries(Object.entries(REPLIES).map(([name, messages]) => [name, says(messages)])),
  );
  gateway = await startTestGateway({
    providers: { odd: { type: 'openai-compatible', base_url: `${upstream.url}/v1` } },
  });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

describe('an estimate', () => {
  it.each([false, true])('grows with everything that was generated, streamed: %s', async (stream) => {
    let before = 0;
    for (const model of Object.keys(REPLIES)) {
      const { call } = await callThrough(gateway, { model: `odd/${model}`, stream });
      expect(call).toMatchObject({ outcome: 'finished', usage_source: 'estimated' });
      const output = call.usage?.['output_tokens'] ?? 0;
      expect(output, model).toBeGreaterThan(before);
      before = output;
    }
  });

  it('is the same for the same reply, plain or streamed', async () => {
    for (const model of Object.keys(REPLIES)) {
      const [plain, streamed] = [
        await callThrough(gateway, { model: `odd/${model}` }),
        await callThrough(gateway, { model: `odd/${model}`, stream: true }),
      ];
      expect(plain.call.usage, model).toEqual(streamed.call.usage);
    }
  });
});
