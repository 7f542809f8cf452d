import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sealLines } from '../../../src/billing/delivery/seal.ts';
import type { UnsealedLine } from '../../../src/ledger/ledger.ts';
import { lineOf, testCrypto } from '../support.ts';

const options = { eventName: 'token-billing-tokens', crypto: testCrypto };

const anyLine: fc.Arbitrary<UnsealedLine> = fc.record({
  call: fc.constantFrom('a', 'a|1', 'b'),
  attempt: fc.integer({ min: 1, max: 3 }),
  model: fc.constantFrom('m', 'm|input', '1|m', 'm%7C'),
  tokenType: fc.constantFrom('input', 'output', 'input|cus_a'),
  tokens: fc.integer({ min: 1, max: 3 }),
  customer: fc.constantFrom('cus_a', 'cus_b'),
  endedAtMs: fc.integer({ min: 1, max: 3 }),
  destination: fc.constant('dimensions'),
  pico: fc.constant('0'),
});

describe('sealing', () => {
  it('makes one event of each line, with the line as its member', () => {
    const line = lineOf('call-1', { tokens: 7, endedAtMs: 1_700_000_000_000 });
    expect(sealLines([line], options)).toEqual([
      {
        event: {
          identifier: `fg_0loyw3v28_${testCrypto.sha256(
            'v1|call-1|1|openai/gpt-4o-mini|input|cus_a|token-billing-tokens|7|1700000000000',
          )}`,
          destination: 'dimensions',
          eventName: 'token-billing-tokens',
          customer: 'cus_a',
          model: 'openai/gpt-4o-mini',
          tokenType: 'input',
          value: '7',
          timestampMs: 1_700_000_000_000,
        },
        members: [{ call: 'call-1', attempt: 1, model: 'openai/gpt-4o-mini', tokenType: 'input' }],
      },
    ]);
  });

  it('gives an identifier that Stripe takes', () => {
    for (const { event } of sealLines([lineOf('x'.repeat(500))], options)) {
      expect(event.identifier).toMatch(/^fg_[0-9a-z]{9}_[0-9a-f]{64}$/);
    }
  });

  it('gives two lines one identifier only if they are one line', () => {
    fc.assert(
      fc.property(anyLine, anyLine, (a, b) => {
        const [first, second] = [a, b].map((line) => sealLines([line], options)[0]?.event.identifier);
        expect(first === second).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 2_000 },
    );
  });
});
