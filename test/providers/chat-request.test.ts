import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../providers/index.ts';
import { PRESET_NAMES } from '../../providers/presets.ts';
import type { Upstream } from '../../providers/provider.ts';
import { openai } from '../../providers/openai.ts';
import { chatCall, prepare, upstream } from '../support/chat.ts';
import { textOf } from '../support/chunks.ts';

const sent = (body: string | object, more: Partial<Upstream> = {}): string =>
  textOf(prepare(body, more).request.body ?? []);

const estimate = (body: object): number => openai.estimateInput(chatCall({ model: 'a', ...body }));

describe('the request to a chat upstream', () => {
  it('goes to the upstream with its key', () => {
    const { request } = prepare({ model: 'a' });
    expect(request).toMatchObject({
      method: 'POST',
      url: 'https://acme.example/v1/chat/completions',
      headers: {
        authorization: 'Bearer sk-upstream',
        'content-type': 'application/json',
        'accept-encoding': 'identity',
      },
    });
  });

  it("carries the caller's headers but none that the gateway or the relay owns", () => {
    const headers = {
      'openai-beta': 'x',
      'accept-encoding': 'gzip',
      authorization: 'Bearer caller',
      cookie: 'a=b',
      'content-length': '7',
      host: 'gateway',
    };
    const { request } = openai.prepare(
      { ...chatCall({ model: 'a' }), headers },
      { ...upstream, apiKey: null },
    );
    expect(request.headers).toEqual({
      'openai-beta': 'x',
      'accept-encoding': 'identity',
      'content-type': 'application/json',
    });
  });

  it('replaces the model and nothing else', () => {
    const body = '{ "messages":[{"model":"x"}],\n  "model" : "acme/gpt\\u002d4",  "n": 1.0 }';
    expect(sent(body)).toBe('{ "messages":[{"model":"x"}],\n  "model" : "gpt-test",  "n": 1.0 }');
  });

  it('sends the very bytes when there is nothing to replace', () => {
    const call = chatCall('{"model":"gpt-test"}');
    expect(openai.prepare(call, upstream).request.body).toEqual([call.body]);
  });

  it('encodes a model name as JSON', () => {
    const call = chatCall({ model: 'a' }, 'odd"na\\me');
    expect(JSON.parse(textOf(openai.prepare(call, upstream).request.body ?? []))).toEqual({
      model: 'odd"na\\me',
    });
  });

  it('copies none of a large body', () => {
    const call = chatCall({ messages: ['x'.repeat(100_000)], model: 'a', stream: true });
    const body = openai.prepare(call, upstream).request.body ?? [];
    const shared = body.filter((piece) => piece.buffer === call.body.buffer);
    expect(shared.reduce((sum, piece) => sum + piece.length, 0)).toBeGreaterThan(100_000);
  });
});

describe('usage in a stream is asked for', () => {
  it.each([
    ['the caller says nothing', '{"model":"a","stream":true}', { include_usage: true }],
    ['the caller says null', '{"model":"a","stream":true,"stream_options":null}', { include_usage: true }],
    [
      'the caller declines it',
      '{"stream_options":{"include_usage":false,"x":1},"model":"a","stream":true}',
      { x: 1, include_usage: true },
    ],
    ['the object is empty', '{"model":"a","stream_options":{},"stream":true}', { include_usage: true }],
  ])('when %s', (_, body, options) => {
    expect(prepare(body).addedUsageOption).toBe(true);
    expect(JSON.parse(sent(body))).toEqual({ model: 'gpt-test', stream: true, stream_options: options });
  });

  it('and not said to be added when the caller asked', () => {
    const body = { model: 'a', stream: true, stream_options: { include_usage: true } };
    expect(prepare(body).addedUsageOption).toBe(false);
    expect(JSON.parse(sent(body))).toEqual({ ...body, model: 'gpt-test' });
  });

  it('not in a call that does not stream', () => {
    expect(prepare({ model: 'a' }).addedUsageOption).toBe(false);
    expect(sent({ model: 'a' })).toBe('{"model":"gpt-test"}');
  });

  it('not where the upstream refuses it', () => {
    const body = '{"model":"a","stream":true}';
    expect(prepare(body, { asksUsage: false }).addedUsageOption).toBe(false);
    expect(sent(body, { asksUsage: false })).toBe('{"model":"gpt-test","stream":true}');
  });

  it.each([
    [
      '{"model":"a","stream":true,"stream_options":{"include_usage":true}}',
      '{"model":"gpt-test","stream":true}',
    ],
    [
      '{"stream_options":{"include_usage":true},"model":"a","stream":true}',
      '{"model":"gpt-test","stream":true}',
    ],
    [
      '{"model":"a" , "stream_options" : {"include_usage":true}\n, "stream":true}',
      '{"model":"gpt-test" ,  "stream":true}',
    ],
    [
      '{ "model":"a", "stream":true , "stream_options":{ "include_usage":true } }',
      '{ "model":"gpt-test", "stream":true  }',
    ],
    [
      '{"model":"a","stream":true,"stream_options":{"include_usage":true,"x":1}}',
      '{"model":"gpt-test","stream":true,"stream_options":{"x":1}}',
    ],
    [
      '{"model":"a","stream":true,"stream_options":{"include_usage":false}}',
      '{"model":"gpt-test","stream":true}',
    ],
  ])('nor by the caller where the upstream refuses it: %s', (body, without) => {
    expect(prepare(body, { asksUsage: false })).toMatchObject({
      addedUsageOption: false,
      sendsUsageOption: false,
    });
    expect(sent(body, { asksUsage: false })).toBe(without);
  });

  it('last, for decoders that ignore case', () => {
    const body = '{"model":"a","stream":true,"stream_options":{"include_usage":true,"Include_Usage":false}}';
    expect(sent(body)).toContain('{"Include_Usage":false,"include_usage":true}');
  });

  it.each(['"yes"', '7', '[]', '{"include_usage":"yes"}'])(
    'not over %s, which is for the upstream to refuse',
    (options) => {
      const body = `{"model":"a","stream":true,"stream_options":${options}}`;
      expect(prepare(body).addedUsageOption).toBe(false);
      expect(sent(body)).toContain(`"stream_options":${options}`);
    },
  );

  it('in a body that names no model either', () => {
    expect(JSON.parse(sent('{"stream":true}'))).toEqual({
      model: 'gpt-test',
      stream: true,
      stream_options: { include_usage: true },
    });
  });
});

describe('the table of providers', () => {
  it('has each provider under its type', () => {
    for (const [type, provider] of PROVIDERS) expect(provider.type).toBe(type);
    expect([...PROVIDERS.keys()]).toEqual([
      'openai',
      'openai-compatible',
      'anthropic',
      'google',
      ...PRESET_NAMES,
    ]);
  });
});

describe('the list of models', () => {
  it('is asked of the upstream with its key', () => {
    expect(openai.listModels(upstream)).toMatchObject({
      method: 'GET',
      url: 'https://acme.example/v1/models',
      headers: { authorization: 'Bearer sk-upstream' },
      body: null,
    });
  });

  it.each([
    ['{"object":"list","data":[{"id":"a"},{"id":"b"}]}', ['a', 'b']],
    ['[{"id":"a"}]', ['a']],
    ['{"data":[]}', []],
    ['{"data":[{"id":3},null,{}]}', []],
    ['{"error":{}}', undefined],
    ['<html>', undefined],
  ])('is read from %s', (body, ids) => {
    expect(openai.modelIds(body)).toEqual(ids);
  });
});

describe('the estimate of the input', () => {
  it('covers messages, parts, tool calls and tools', () => {
    const bare = estimate({ messages: [{ role: 'user', content: '' }] });
    expect(estimate({ messages: [{ role: 'user', content: 'x'.repeat(40) }] })).toBe(bare + 10);
    const parts = [{ type: 'text', text: 'x'.repeat(40) }];
    expect(estimate({ messages: [{ role: 'user', content: parts }] })).toBe(bare + 10);
    const calls = [
      { id: '1', type: 'function', function: { name: 'f'.repeat(20), arguments: '1'.repeat(20) } },
    ];
    expect(estimate({ messages: [{ role: 'assistant', content: null, tool_calls: calls }] })).toBe(bare + 10);
    expect(estimate({ tools: [{ type: 'function', function: { name: 'f' } }] })).toBeGreaterThan(5);
  });

  it('does not take the base64 of an image for text', () => {
    const url = `data:image/png;base64,${'A'.repeat(100_000)}`;
    const content = [{ type: 'image_url', image_url: { url } }];
    expect(estimate({ messages: [{ role: 'user', content }] })).toBeLessThan(100);
  });

  it('survives messages of any shape', () => {
    expect(
      estimate({ messages: [null, 1, 'x', [], { content: { a: 1 } }, { content: [null, 3, []] }] }),
    ).toBe(8);
    expect(estimate({ messages: 'none', tools: 3 })).toBe(0);
  });
});

const least = (body: object): number => openai.leastInput(chatCall({ model: 'a', ...body }));

describe('the least the input can be', () => {
  it('is half of what the text weighs, and nothing for what frames it', () => {
    expect(least({ messages: [{ role: 'user', content: 'x'.repeat(47) }] })).toBe(5);
    expect(least({ messages: [{ role: 'user', content: '' }] })).toBe(0);
  });
});
