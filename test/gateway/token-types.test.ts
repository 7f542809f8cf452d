/** `billing.token_types`: which classes of usage Stripe sees apart. The sum is the same whichever. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countByType, type TokenType } from '../../src/usage/token-types.ts';
import { inputTokens, outputTokens, ZERO_TOKENS } from '../../src/usage/usage.ts';
import { callThrough } from '../support/call.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type ScriptedUpstream, startScripted } from '../support/scripted.ts';

const FINER = ['cached_input', 'cache_write', 'reasoning'] as const;
const INPUT: ReadonlySet<TokenType> = new Set(['input', 'cached_input', 'cache_write']);

describe('the tokens of every type', () => {
  const counts = fc.record(
    Object.fromEntries(Object.keys(ZERO_TOKENS).map((name) => [name, fc.nat(1_000_000)])),
  ) as fc.Arbitrary<typeof ZERO_TOKENS>;

  it('add up to what was read and what was generated, whichever types there are', () => {
    fc.assert(
      fc.property(counts, fc.subarray([...FINER]), (usage, finer) => {
        const lines = countByType(usage, ['input', 'output', ...finer]);
        const sum = (side: boolean): number =>
          lines
            .filter(({ tokenType }) => INPUT.has(tokenType) === side)
            .reduce((total, { tokens }) => total + tokens, 0);
        expect([sum(true), sum(false)]).toEqual([inputTokens(usage), outputTokens(usage)]);
        expect(lines.every(({ tokens }) => tokens > 0)).toBe(true);
        const types = lines.map(({ tokenType }) => tokenType);
        expect(new Set(types).size).toBe(types.length);
        expect(types.filter((type) => !['input', 'output', ...finer].includes(type))).toEqual([]);
      }),
    );
  });
});

describe('the events of a call', () => {
  const USAGE = {
    prompt_tokens: 100,
    completion_tokens: 50,
    total_tokens: 150,
    prompt_tokens_details: { cached_tokens: 30, cache_write_tokens: 20 },
    completion_tokens_details: { reasoning_tokens: 35 },
  };
  const CASES: readonly (readonly [readonly string[], Readonly<Record<string, number>>])[] = [
    [[], { input: 100, output: 50 }],
    [['cached_input'], { input: 70, cached_input: 30, output: 50 }],
    [['reasoning'], { input: 100, output: 15, reasoning: 35 }],
    [
      ['cached_input', 'cache_write', 'reasoning'],
      { input: 50, cached_input: 30, cache_write: 20, output: 15, reasoning: 35 },
    ],
  ];
  let upstream: ScriptedUpstream;
  const gateways: TestGateway[] = [];
  beforeAll(async () => {
    upstream = await startScripted({
      m: ({ response }) =>
        void response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify({ id: 'c1', choices: [], usage: USAGE })),
    });
    for (const [finer] of CASES) {
      const config = { billing: { token_types: ['input', 'output', ...finer] } };
      const providers = { odd: { type: 'openai-compatible', base_url: `${upstream.url}/v1` } };
      gateways.push(await startTestGateway({ config, providers }));
    }
  });
  afterAll(async () => {
    for (const gateway of gateways) await gateway.close();
    await upstream.close();
  });

  it.each(CASES.map(([finer, due], index) => [finer.join(', ') || 'none', index, due] as const))(
    'are of the types that are configured, beside input and output: %s',
    async (_finer, index, due) => {
      const gateway = gateways[index]!;
      const { call } = await callThrough(gateway, { model: 'odd/m' });
      const sent = Object.fromEntries(
        call.events.map(({ token_type: type, value }) => [type, Number(value)]),
      );
      expect(sent).toEqual(due);
      const accepted = Object.entries(due).map(([type, tokens]) => [`odd/m ${type}`, tokens]);
      expect(gateway.billed()).toEqual(Object.fromEntries(accepted));
    },
  );
});
