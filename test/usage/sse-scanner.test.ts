import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplyTooLarge } from '../../src/usage/reply-too-large.ts';
import { sseData, sseEventName, SseScanner } from '../../src/usage/sse-scanner.ts';
import { bytesOf, cutAt, oneByOne, textOf } from '../support/chunks.ts';

interface Seen {
  bytes: string;
  name: string;
  /** Null for a unit without data. */
  data: string | null;
  complete: boolean;
}

/** Every unit; a line feed that came late is put back to the unit it belongs to. */
function scan(chunks: readonly Uint8Array[]): Seen[] {
  const seen: Seen[] = [];
  const scanner = new SseScanner((bytes, unit) => {
    const raw = Buffer.from(bytes.subarray(unit.start, unit.end)).toString('latin1');
    const last = seen.at(-1);
    if (unit.tail && last !== undefined) last.bytes += raw;
    else {
      const data = unit.dataLines === 0 ? null : sseData(bytes, unit);
      seen.push({ bytes: raw, name: sseEventName(bytes, unit), data, complete: unit.complete });
    }
  });
  for (const chunk of chunks) scanner.write(chunk);
  scanner.end();
  return seen;
}

const scanText = (text: string): Seen[] => scan([bytesOf(text)]);
const dataOf = (text: string): (string | null)[] => scanText(text).map((unit) => unit.data);

describe('the scanner of server-sent events', () => {
  it.each([
    ['line feeds', '\n'],
    ['carriage returns with line feeds', '\r\n'],
    ['carriage returns', '\r'],
  ])('reads events that end in %s', (_, end) => {
    const text = `event: a${end}data: 1${end}${end}data: 2${end}${end}`;
    expect(scanText(text)).toEqual([
      { bytes: `event: a${end}data: 1${end}${end}`, name: 'a', data: '1', complete: true },
      { bytes: `data: 2${end}${end}`, name: '', data: '2', complete: true },
    ]);
  });

  it('joins the lines of one event', () => {
    expect(dataOf('data: a\nid: 7\ndata:b\ndata\ndata:  c\n\n')).toEqual(['a\nb\n\n c']);
  });

  it('takes off one space after the colon and no more', () => {
    expect(dataOf('data:  x\n\ndata:y\n\ndata:\n\n')).toEqual([' x', 'y', '']);
  });

  it('passes over a byte order mark', () => {
    expect(dataOf('\ufeffdata: x\n\n')).toEqual(['x']);
  });

  it('does not take a mark in the middle for one', () => {
    expect(dataOf('data: x\n\n\ufeffdata: y\n\n')).toEqual(['x', null]);
  });

  it('hands out a comment between events without waiting for more', () => {
    expect(scanText(': OPENROUTER PROCESSING\n')).toEqual([
      { bytes: ': OPENROUTER PROCESSING\n', name: '', data: null, complete: true },
    ]);
  });

  it('keeps a comment inside an event with the event', () => {
    expect(scanText('data: a\n: note\ndata: b\n\n').map((unit) => unit.data)).toEqual(['a\nb']);
  });

  it('passes over fields it does not know, and names that only begin alike', () => {
    expect(dataOf('error: {}\nretry: 3\n data: x\ndatas: y\nDATA: z\n\n')).toEqual([null]);
  });

  it('hands out what the end of the stream left without its blank line', () => {
    expect(scanText('data: x\n\ndata: y')).toMatchObject([
      { data: 'x', complete: true },
      { data: 'y', complete: false },
    ]);
  });

  it('goes on after an end', () => {
    const units: string[] = [];
    const scanner = new SseScanner((bytes, unit) => units.push(sseData(bytes, unit)));
    scanner.write(bytesOf('data: a'));
    scanner.end();
    scanner.write(bytesOf('data: b\n\n'));
    expect(units).toEqual(['a', 'b']);
  });

  it('hands out the chunk itself when an event lies inside it', () => {
    const chunk = bytesOf('data: a\n\ndata: b\n\n');
    const given: Uint8Array[] = [];
    new SseScanner((bytes) => given.push(bytes)).write(chunk);
    expect(given.every((bytes) => bytes === chunk)).toBe(true);
    expect(given).toHaveLength(2);
  });

  it('ends an event at a lone carriage return without waiting for a line feed', () => {
    let count = 0;
    const scanner = new SseScanner(() => (count += 1));
    scanner.write(bytesOf('data: a\r\r'));
    expect(count).toBe(1);
  });
});

describe('an adversary at the scanner', () => {
  it('is stopped by the bound on a line that never ends', () => {
    const scanner = new SseScanner(() => undefined, 10_000);
    const endless = (): void => {
      for (let written = 0; written < 20_000; written += 100) scanner.write(bytesOf('x'.repeat(100)));
    };
    expect(endless).toThrow(ReplyTooLarge);
  });

  it('is stopped by the bound on an event of many lines', () => {
    const scanner = new SseScanner(() => undefined, 1000);
    expect(() => scanner.write(bytesOf('data: x\n'.repeat(1000)))).toThrow(ReplyTooLarge);
  });

  it('gets an event of exactly the bound through', () => {
    const sizes: number[] = [];
    const scanner = new SseScanner((_, unit) => sizes.push(unit.end - unit.start), 1000);
    const text = `data: ${'x'.repeat(992)}\n\n`;
    scanner.write(bytesOf(text));
    for (const byte of oneByOne(bytesOf(text))) scanner.write(byte);
    expect(sizes).toEqual([1000, 1000]);
  });

  it('pays for one event of a megabyte, byte by byte, in linear time', () => {
    const bytes = bytesOf(`data: ${'x'.repeat(1_000_000)}\n\n`);
    expect(scan(oneByOne(bytes))).toMatchObject([{ complete: true }]);
  });

  it('gets 10,000 events out of one chunk', () => {
    expect(scanText('data: {}\n\n'.repeat(10_000))).toHaveLength(10_000);
  });
});

describe('any chunking', () => {
  const line = fc.constantFrom(
    'data: a',
    'data:b',
    'data',
    'event: e',
    ': note',
    'id: 1',
    '',
    '',
    'datax: 1',
    'data: é漢😀',
    '\ufeff',
  );
  const stream = fc
    .array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 30 })
    .map((lines) => lines.map(([text, end]) => text + end).join(''));

  it('gives the same units, whose bytes are the stream', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(), { maxLength: 20 }), (text, offsets) => {
        const bytes = bytesOf(text);
        const whole = scan([bytes]);
        expect(scan(cutAt(bytes, offsets))).toEqual(whole);
        expect(scan(oneByOne(bytes))).toEqual(whole);
        const joined = whole.map((unit) => Buffer.from(unit.bytes, 'latin1'));
        expect(textOf(joined)).toBe(textOf([bytes]));
      }),
      { numRuns: 1000 },
    );
  });
});
