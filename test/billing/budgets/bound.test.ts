import { describe, expect, it } from 'vitest';
import { boundOf, type Vendor } from '../../../src/billing/budgets/bound.ts';
import { limitsOf } from '../../../src/billing/budgets/model-limits.ts';
import { featuresOf } from '../../../src/billing/budgets/request-features.ts';

const endpointOf = (body: object): string => {
  if ('contents' in body) return 'generateContent';
  if ('prompt' in body) return 'completions';
  return 'max_output_tokens' in body ? 'responses' : 'chat.completions';
};
const bound = (body: object, vendor: Vendor = 'openai', model = 'gpt-4o') =>
  boundOf({
    vendor,
    bodyBytes: JSON.stringify(body).length,
    features: featuresOf(body, endpointOf(body)),
    limits: limitsOf(vendor === 'other' ? null : vendor, model),
    generates: true,
  });
const gemini = (config: object) => bound({ contents: [], generationConfig: config }, 'google');
const text = { messages: [{ role: 'user', content: 'hi' }] };

describe('the bound on what is generated', () => {
  it.each([
    ['chat', { max_tokens: 70 }, 70],
    ['chat, newer', { max_completion_tokens: 70 }, 70],
    ['responses', { max_output_tokens: 70 }, 70],
    ['the largest of several', { max_tokens: 70, max_completion_tokens: 90 }, 90],
    ['several replies', { max_tokens: 70, n: 3 }, 210],
    ['several prompts', { max_tokens: 70, n: 2, prompt: ['a', 'b', 'c'] }, 420],
    ['one prompt of tokens', { max_tokens: 70, prompt: [1, 2, 3] }, 70],
    ['replies in a text', { max_tokens: 70, n: '3' }, 210],
    ['a cap in a text', { max_tokens: 70, max_completion_tokens: '90' }, 90],
    ['a cap so low that a translation raises it', { max_tokens: 5 }, 16],
  ])('is the cap that the request names: %s', (_name, body, tokens) => {
    expect(bound({ ...text, ...body })).toMatchObject({ outputTokens: tokens, isCapped: true });
  });

  it('adds thought to the cap of a Gemini, and a budget for it where one is named', () => {
    expect(gemini({ maxOutputTokens: 100, thinkingConfig: { thinkingBudget: 900 } }).outputTokens).toBe(
      1_000,
    );
    expect(gemini({ maxOutputTokens: 100, thinkingConfig: { thinkingBudget: 0 } }).outputTokens).toBe(612);
    expect(gemini({ maxOutputTokens: 100 }).outputTokens).toBe(100 + 65_536);
    expect(gemini({ maxOutputTokens: 100, candidateCount: 2 }).outputTokens).toBe(2 * (100 + 65_536));
  });

  it('adds all thought where the budget for it is left to the model, or is named where it means nothing', () => {
    const free = 100 + 65_536;
    expect(gemini({ maxOutputTokens: 100, thinkingConfig: { thinkingBudget: -1 } }).outputTokens).toBe(free);
    const args = { contents: [{ parts: [{ functionCall: { args: { thinkingBudget: 0 } } }] }] };
    expect(bound({ ...args, generationConfig: { maxOutputTokens: 100 } }, 'google').outputTokens).toBe(free);
  });

  it.each([
    ["another route's cap", { max_output_tokens: 20, messages: [] }, 'chat.completions'],
    ["Gemini's cap", { generationConfig: { maxOutputTokens: 20 } }, 'chat.completions'],
    ['a cap at the top of a Gemini', { maxOutputTokens: 20, contents: [] }, 'generateContent'],
    ['a cap beside one of nothing', { max_tokens: -1, max_completion_tokens: 20 }, 'chat.completions'],
    ['a cap beside one that is no number', { max_tokens: {}, max_completion_tokens: 20 }, 'chat.completions'],
    ['a cap of a route that has none', { max_output_tokens: 20 }, 'responses.compact'],
  ])('is not what a lenient server ignores: %s', (_name, body, endpoint) => {
    expect(featuresOf(body, endpoint).outputCaps).toEqual([]);
  });

  it('stays a number whatever is asked for', () => {
    const huge = JSON.parse('{"max_tokens":1e999,"n":1e999}') as object;
    expect(bound(huge).outputTokens).toBe(1e18);
  });

  it("is the model's own where the request names none, or names nothing", () => {
    expect(bound(text)).toMatchObject({ outputTokens: 16_384, isCapped: false, outputExpected: 1_024 });
    expect(bound({ ...text, max_tokens: -1 }).outputTokens).toBe(16_384);
    expect(bound(text, 'other', 'my-model')).toMatchObject({
      outputTokens: null,
      reasons: ['no output limit'],
    });
  });
});

describe('the bound on what is read', () => {
  it('is more than the bytes, by what the vendor adds for tools and images', () => {
    const bytes = JSON.stringify(text).length;
    expect(bound(text).inputTokens).toBe(bytes + 128);
    const tools = {
      ...text,
      tools: [{ name: 'f' }, { type: 'custom' }, { type: 'bash_20250124', name: 'bash' }],
    };
    expect(bound(tools, 'anthropic').inputTokens).toBe(
      JSON.stringify(tools).length + 256 + 1024 + 2 * 64 + 1536,
    );
    const image = { input: [{ content: [{ type: 'input_image', image_url: 'https://x/y' }] }] };
    expect(bound(image).inputTokens).toBe(JSON.stringify(image).length + 128 + 50_000);
  });

  it.each([
    ['a reply before', { previous_response_id: 'resp_1' }],
    ['a conversation', { conversation: 'conv_1' }],
    ['a file', { input: [{ content: [{ type: 'input_file', file_id: 'file_1' }] }] }],
    ['a document', { messages: [{ content: [{ type: 'document', source: { type: 'base64' } }] }] }],
    ['a video', { contents: [{ parts: [{ inlineData: { mimeType: 'video/mp4' } }] }] }],
    ['a cache', { cachedContent: 'cachedContents/1' }],
    [
      'sound in a coding that can pack silence',
      { messages: [{ content: [{ type: 'input_audio', input_audio: { format: 'flac' } }] }] },
    ],
  ])('is the context window for %s', (_name, body) => {
    expect(bound({ ...body, max_tokens: 5 }, 'openai', 'gpt-4o').inputTokens).toBe(128_000);
  });

  it.each([
    ['a search', { tools: [{ type: 'web_search' }] }, 'web_search'],
    ['a search of Gemini', { tools: [{ googleSearch: {} }] }, 'googleSearch'],
    ['code run by the vendor', { tools: [{ type: 'code_execution_20250825' }] }, 'code_execution_20250825'],
    ['a stored prompt, which may bring tools', { prompt: { id: 'pmpt_1' } }, 'prompt'],
    ['a tool that stands alone', { tools: { googleSearch: {} } }, 'googleSearch'],
    ['a server of tools', { mcp_servers: [{}] }, 'mcp_servers'],
    ['compaction', { context_management: {} }, 'context_management'],
    ['work in the background', { background: true }, 'background'],
  ])('is none for %s', (_name, body, reason) => {
    expect(bound({ ...text, ...body })).toMatchObject({
      inputTokens: null,
      outputTokens: null,
      reasons: [reason],
    });
  });

  it('is none with a hundred kinds of tools that the vendor runs, of which a few are named', () => {
    const tools = Array.from({ length: 100 }, (_, at) => ({ type: `search_${String(at % 50)}` }));
    const { inputTokens, outputTokens, reasons } = bound({ ...text, max_tokens: 70, tools });
    expect({ inputTokens, outputTokens }).toEqual({ inputTokens: null, outputTokens: null });
    expect(reasons).toEqual(Array.from({ length: 16 }, (_, at) => `search_${String(at)}`));
  });

  it("does not take a caller's own tool arguments for settings", () => {
    const tools = [{ type: 'function', function: { parameters: { properties: { background: { n: 5 } } } } }];
    expect(bound({ ...text, tools, max_tokens: 30 })).toMatchObject({ outputTokens: 30, reasons: [] });
  });

  it('counts text documents as text', () => {
    const body = { messages: [{ content: [{ type: 'document', source: { type: 'text', data: 'x' } }] }] };
    expect(bound(body, 'anthropic').reasons).toEqual([]);
  });
});
