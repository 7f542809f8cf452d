import { beforeEach, expect, it } from 'vitest';
import type { CallerReply } from '../../src/gateway/ports.ts';
import { SharedReply } from '../../src/gateway/shared-reply.ts';

interface Ear extends CallerReply {
  /** What was heard, the head and the end included. */
  readonly heard: string[];
  /** Whether he takes no more for now. */
  slow: boolean;
  drain(): void;
  leave(): void;
}

const nothing = (): void => undefined;

function ear(): Ear {
  let resume = nothing;
  let left = nothing;
  const one: Ear = {
    heard: [],
    slow: false,
    head: (status, headers) => void one.heard.push(`${status} ${headers['idempotent-replayed'] ?? 'own'}`),
    write(bytes) {
      one.heard.push(new TextDecoder().decode(bytes));
      return !one.slow;
    },
    end: () => void one.heard.push('end'),
    break: () => void one.heard.push('break'),
    onDrain: (told) => void (resume = told),
    onGone: (told) => void (left = told),
    drain: () => resume(),
    leave: () => left(),
  };
  return one;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Room for so many bytes. */
const shared = (roomFor: number, cancels = false): SharedReply =>
  new SharedReply({
    room: (reply, length) => reply.bytes + length <= roomFor,
    over: () => undefined,
    cancels,
  });

let first: Ear;
beforeEach(() => {
  first = ear();
});

it('gives a late listener all of it, and tells him that it is not his own', () => {
  const reply = shared(100);
  reply.listen(first, false);
  reply.head(200, {});
  reply.write(bytes('a'));
  const late = ear();
  reply.listen(late, true);
  reply.write(bytes('b'));
  reply.end();
  const replayed = ear();
  reply.listen(replayed, true);
  expect(first.heard).toEqual(['200 own', 'a', 'b', 'end']);
  expect(late.heard).toEqual(['200 true', 'a', 'b', 'end']);
  expect(replayed.heard).toEqual(late.heard);
});

it('keeps what it is given, though the writer uses the buffer again', () => {
  const reply = shared(100);
  const buffer = bytes('a');
  reply.head(200, {});
  reply.write(buffer);
  buffer[0] = 0;
  reply.listen(first, false);
  expect(first.heard).toEqual(['200 own', 'a']);
});

it('does not let a slow listener hold up the writer, nor another listener', () => {
  const reply = shared(100);
  const slow = ear();
  slow.slow = true;
  reply.listen(first, false);
  reply.listen(slow, true);
  reply.head(200, {});
  expect(reply.write(bytes('a'))).toBe(true);
  expect(reply.write(bytes('b'))).toBe(true);
  reply.end();
  expect(first.heard.at(-1)).toBe('end');
  expect(slow.heard).toEqual(['200 true', 'a']);
  slow.slow = false;
  slow.drain();
  expect(slow.heard).toEqual(['200 true', 'a', 'b', 'end']);
});

it('past its bound waits for whoever is slowest, and keeps only what he has not heard', () => {
  const reply = shared(2);
  let resumed = 0;
  reply.onDrain(() => void (resumed += 1));
  first.slow = true;
  reply.listen(first, false);
  reply.head(200, {});
  expect(reply.write(bytes('ab'))).toBe(true);
  expect(reply.write(bytes('cd'))).toBe(false);
  expect([reply.whole, reply.bytes]).toEqual([false, 2]);
  first.slow = false;
  first.drain();
  expect(resumed).toBe(1);
  reply.write(bytes('ef'));
  reply.end();
  expect(first.heard).toEqual(['200 own', 'ab', 'cd', 'ef', 'end']);
  expect(reply.bytes).toBe(0);
});

it('goes on when everyone has left, unless the policy is to cancel', () => {
  for (const cancels of [false, true]) {
    const reply = shared(1, cancels);
    let left = 0;
    reply.onGone(() => void (left += 1));
    const [one, other] = [ear(), ear()];
    reply.listen(one, false);
    reply.listen(other, true);
    reply.head(200, {});
    one.leave();
    expect(left).toBe(0);
    other.leave();
    expect(left).toBe(cancels ? 1 : 0);
    expect(reply.write(bytes('abc'))).toBe(true);
  }
});

it('ends as it ended for the first: broken, where it broke', () => {
  const reply = shared(100);
  reply.listen(first, false);
  reply.head(200, {});
  reply.write(bytes('a'));
  reply.break();
  const late = ear();
  reply.listen(late, true);
  expect(late.heard).toEqual(['200 true', 'a', 'break']);
});

it.each([true, false])(
  'tells whoever writes that nobody listens any more, also where they left before he asked: cancels %s',
  (cancels) => {
    const reply = shared(100, cancels);
    reply.listen({ ...first, onGone: (left) => left() }, false);
    let told = 0;
    reply.onGone(() => (told += 1));
    expect(told).toBe(cancels ? 1 : 0);
  },
);

it('tells nobody that all have left while one still listens', () => {
  const reply = shared(100, true);
  reply.listen({ ...first, onGone: (left) => left() }, false);
  reply.listen(ear(), true);
  let told = 0;
  reply.onGone(() => (told += 1));
  expect(told).toBe(0);
});
