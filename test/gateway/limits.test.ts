/** A key's limits, over a clock of the test's own. */
import { describe, expect, it } from 'vitest';
import { Refusal } from '../../src/errors.ts';
import { createLimiter, type Passage } from '../../src/gateway/limits.ts';
import { durationText } from '../../src/gateway/limit-headers.ts';
import type { CallerReply } from '../../src/gateway/ports.ts';
import type { Settler } from '../../src/gateway/settle.ts';
import type { KeyLimits } from '../../src/keys/keys.ts';

const NONE: KeyLimits = { rpm: null, tpm: null, concurrency: null };
const START_MS = 1_763_726_000_250;

function setUp(limits: Partial<KeyLimits>) {
  const clock = { nowMs: START_MS };
  const limiter = createLimiter({ limits: { ...NONE, ...limits }, now: () => clock.nowMs });
  const enter = (id = 'key', own?: Partial<KeyLimits>): Passage =>
    limiter.enter(own === undefined ? { id } : { id, limits: own }, 'openai');
  return { clock, enter, limiter };
}

function refusalOf(work: () => unknown): Refusal {
  try {
    work();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  throw new Error('It was let in.');
}

function scriptedReply() {
  const heads: Record<string, string>[] = [];
  const gone: (() => void)[] = [];
  const reply: CallerReply = {
    head: (_status, headers) => void heads.push({ ...headers }),
    write: () => true,
    end: () => undefined,
    break: () => undefined,
    onDrain: () => undefined,
    onGone: (left) => void gone.push(left),
  };
  return { reply, heads, leave: () => gone.forEach((left) => left()) };
}

const billing = (inputTokens: number, outputTokens: number): Settler => ({
  measure: () => ({ usage: [], usageSource: 'none', responseId: null, reason: undefined, refused: false }),
  settle: () => Promise.resolve({ inputTokens, outputTokens, costPico: 0n, usageSource: 'reported' }),
  failedAttempt: () => {
    throw new Error('No attempt fails here.');
  },
  checkpoint: () => Promise.resolve(),
  retry: () => Promise.resolve(0),
});
const nothing = (): void => undefined;

/** Lets a call settle with that bill, as the request path does. */
async function settle(passage: Passage, input: number, output: number): Promise<void> {
  const { settler, done } = passage.counting({ settler: billing(input, output), done: nothing });
  await Reflect.apply(settler.settle, settler, [{}, {}, {}]);
  done();
}

describe('requests per minute', () => {
  it('are never more than the limit in any 60 s, and the next is let in when the refusal said', () => {
    const { clock, enter } = setUp({ rpm: 3 });
    const times: number[] = [];
    for (let step = 0; step < 2_000; step += 1) {
      clock.nowMs += 137;
      try {
        enter();
        times.push(clock.nowMs);
      } catch (error) {
        expect(error).toBeInstanceOf(Refusal);
      }
    }
    expect(times.length).toBeGreaterThan(9);
    for (const [index, time] of times.entries()) {
      const fourth = times[index + 3];
      if (fourth !== undefined) expect(fourth - time).toBeGreaterThanOrEqual(60_000);
    }
  });

  it('are refused with a retry-after at which the request is let in', () => {
    const { clock, enter } = setUp({ rpm: 2 });
    enter();
    clock.nowMs += 20_000;
    enter();
    clock.nowMs += 1_000;
    const refusal = refusalOf(() => enter());
    expect(refusal).toMatchObject({ code: 'rate_limit_exceeded', headers: { 'retry-after': '40' } });
    clock.nowMs += 39_000;
    refusalOf(() => enter());
    clock.nowMs += 1_000;
    enter();
  });

  it('are counted for each key alone', () => {
    const { enter } = setUp({ rpm: 1 });
    enter('one');
    enter('two');
    refusalOf(() => enter('one'));
  });

  it("are the key's own where it carries a limit, or none", () => {
    const { enter } = setUp({ rpm: 1 });
    enter('strict', { rpm: 2 });
    enter('strict', { rpm: 2 });
    refusalOf(() => enter('strict', { rpm: 2 }));
    for (let call = 0; call < 50; call += 1) enter('free', { rpm: null });
  });

  it('start afresh when the clock was set back, instead of refusing until it has caught up', () => {
    const { clock, enter } = setUp({ rpm: 1 });
    enter();
    clock.nowMs -= 3_600_000;
    enter();
    refusalOf(() => enter());
  });
});

describe('tokens per minute', () => {
  it('are estimated at admission, and what was billed takes the place of the estimate', async () => {
    const { enter } = setUp({ tpm: 1_000 });
    const passage = enter();
    passage.take(() => 400);
    refusalOf(() => enter().take(() => 601));
    await settle(passage, 100, 100);
    enter().take(() => 800);
    refusalOf(() => enter().take(() => 1));
  });

  it('may be passed by what a call generates, and the next waits for it', async () => {
    const { clock, enter } = setUp({ tpm: 1_000 });
    const passage = enter();
    passage.take(() => 10);
    await settle(passage, 10, 5_000);
    expect(refusalOf(() => enter().take(() => 1)).headers).toMatchObject({ 'retry-after': '61' });
    clock.nowMs += 61_000;
    enter().take(() => 1_000);
  });

  it('are given back for a call that came to nothing', () => {
    const { enter } = setUp({ tpm: 1_000 });
    const passage = enter();
    passage.take(() => 1_000);
    passage.leave(nothing);
    enter().take(() => 1_000);
  });

  it('that one request alone would pass are refused for good: no retry would help', () => {
    const { enter } = setUp({ tpm: 1_000 });
    const refusal = refusalOf(() => enter().take(() => 1_001));
    expect(refusal.headers).toMatchObject({ 'x-should-retry': 'false' });
  });

  it('are not estimated where they are not limited', () => {
    const { enter } = setUp({ rpm: 5 });
    enter().take(() => {
      throw new Error('estimated');
    });
  });
});

describe('calls at once', () => {
  it('hold their place until the books are closed and the last byte is given, in either order', async () => {
    const { enter } = setUp({ concurrency: 1 });
    const first = enter();
    const reply = first.watch(scriptedReply().reply);
    await settle(first, 1, 1);
    expect(refusalOf(() => enter()).headers).toMatchObject({ 'retry-after': '1' });
    reply.end();
    const second = enter();
    second.watch(scriptedReply().reply).break();
    refusalOf(() => enter());
    await settle(second, 1, 1);
    enter();
  });

  it('hold their place while the provider is read to its end for a caller who has left', async () => {
    const { enter } = setUp({ concurrency: 1 });
    const passage = enter();
    const { reply, leave } = scriptedReply();
    passage.watch(reply).onGone(nothing);
    leave();
    refusalOf(() => enter());
    await settle(passage, 1, 1);
    enter();
  });

  it('are forgotten by no flood of other keys', () => {
    const { enter } = setUp({ concurrency: 1 });
    enter('busy');
    for (let key = 0; key < 12_000; key += 1) enter(`key${key}`).leave(nothing);
    refusalOf(() => enter('busy'));
  });
});

describe('the head of a reply', () => {
  it("says how much is left, in OpenAI's shape", () => {
    const { clock, enter } = setUp({ rpm: 10, tpm: 1_000 });
    const passage = enter();
    passage.take(() => 300);
    const { reply, heads } = scriptedReply();
    clock.nowMs += 500;
    passage.watch(reply).head(200, { 'x-request-id': 'req_1' });
    expect(heads).toEqual([
      {
        'x-request-id': 'req_1',
        'x-ratelimit-limit-requests': '10',
        'x-ratelimit-remaining-requests': '9',
        'x-ratelimit-reset-requests': '1m0.25s',
        'x-ratelimit-limit-tokens': '1000',
        'x-ratelimit-remaining-tokens': '700',
        'x-ratelimit-reset-tokens': '1m0.25s',
      },
    ]);
  });

  it("says it to Anthropic's clients in theirs", () => {
    const { limiter } = setUp({ rpm: 10 });
    const { reply, heads } = scriptedReply();
    limiter.enter({ id: 'key' }, 'anthropic').watch(reply).head(200, {});
    expect(heads).toEqual([
      {
        'anthropic-ratelimit-requests-limit': '10',
        'anthropic-ratelimit-requests-remaining': '9',
        'anthropic-ratelimit-requests-reset': '2025-11-21T11:54:21Z',
      },
    ]);
  });

  it.each([
    [0, '0ms'],
    [17, '17ms'],
    [1_200, '1.2s'],
    [60_000, '1m0s'],
  ])('writes %i ms as %s', (ms, text) => {
    expect(durationText(ms)).toBe(text);
  });
});

it('a key without limits passes as it is', () => {
  const { enter } = setUp({});
  const { reply } = scriptedReply();
  expect(enter().watch(reply)).toBe(reply);
});
