import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FORM_HEADER_BYTES_MAX,
  FORM_PARTS_MAX,
  formBoundary,
  formField,
  isForm,
  scanForm,
} from '../../src/usage/form-scanner.ts';
import { bytesOf } from '../support/chunks.ts';

const field = (name: string, value: string, more = ''): string =>
  `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
const form = (...parts: readonly string[]): string => `${parts.join('')}--b--\r\n`;
const scan = (text: string) => scanForm(bytesOf(text), 'b');
const model = (text: string): string | null | undefined => {
  const scanned = scan(text);
  if (scanned.kind !== 'form') throw new Error(scanned.message);
  return formField(bytesOf(text), scanned, 'model');
};
const refusal = (text: string): string | undefined => {
  const scanned = scan(text);
  return scanned.kind === 'refused' ? scanned.message : undefined;
};

describe('formBoundary', () => {
  it.each([
    ['multipart/form-data; boundary=b', 'b'],
    ['Multipart/Form-Data; charset=utf-8; BOUNDARY="a b:c"', 'a b:c'],
    ['multipart/form-data;boundary=----WebKitFormBoundaryAbC123', '----WebKitFormBoundaryAbC123'],
  ])('reads %s', (contentType, boundary) => expect(formBoundary(contentType)).toBe(boundary));

  it.each([
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'multipart/form-data; boundary=a; boundary=b',
    'multipart/form-data; boundary=a, multipart/form-data; boundary=b',
    'multipart/form-data; boundary="a\\"b"',
    'multipart/form-data; boundary="ends with space "',
    `multipart/form-data; boundary=${'x'.repeat(71)}`,
    'multipart/mixed; boundary=b',
    'application/json',
  ])('refuses %s', (contentType) => expect(formBoundary(contentType)).toBeUndefined());

  it('tells forms from other bodies', () => {
    expect([isForm('multipart/mixed; boundary=b'), isForm('application/json'), isForm(undefined)]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe('scanForm', () => {
  it('finds fields and files as the usual clients write them', () => {
    const text = form(
      field('model', 'acme/whisper-1'),
      '--b\r\ncontent-disposition: form-data; name=stream\r\n\r\ntrue\r\n',
      '--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"; filename*=utf-8\'\'a.mp3\r\nContent-Type: audio/mpeg\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\x01\r\n\r\n\r\n',
    );
    const scanned = scan(text);
    expect(scanned.kind === 'form' && scanned.parts.map(({ name, isFile }) => [name, isFile])).toEqual([
      ['model', false],
      ['stream', false],
      ['file', true],
    ]);
    expect(model(text)).toBe('acme/whisper-1');
  });

  it('takes a boundary inside content for content where no line begins with it', () => {
    expect(model(form(field('prompt', 'a--b--b-- --b'), field('model', 'm')))).toBe('m');
  });

  it('finds an empty field, and none', () => {
    expect(model(form(field('model', '')))).toBe('');
    expect(model(form(field('prompt', 'x')))).toBeUndefined();
    expect(model('--b--')).toBeUndefined();
  });

  it('answers null for a model that is not UTF-8', () => {
    const bytes = new Uint8Array(Buffer.from(form(field('model', '\xff')), 'latin1'));
    const scanned = scanForm(bytes, 'b');
    expect(scanned.kind === 'form' && formField(bytes, scanned, 'model')).toBe(null);
  });

  it.each([
    ['no boundary at the beginning', `x\r\n${form(field('model', 'm'))}`],
    ['text before the first boundary', `\r\n${form(field('model', 'm'))}`],
    ['no final boundary', field('model', 'm')],
    ['a final boundary that is cut', `${field('model', 'm')}--b-`],
    ['text after the final boundary', `${form(field('model', 'm'))}x`],
    ['a second form after the first', form(field('model', 'm')) + form(field('model', 'n'))],
    ['LF line ends', form(field('model', 'm')).replaceAll('\r\n', '\n')],
    [
      'a boundary after LF alone',
      form(field('prompt', 'x\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nn')),
    ],
    ['a boundary after CR alone', form(field('prompt', 'x\r--b--'))],
    ['a boundary that goes on', form(field('prompt', 'x\r\n--bc\r\ny'))],
    ['space after a boundary', form(field('model', 'm')).replace('--b\r\n', '--b \r\n')],
    ['a part without headers', form('--b\r\n\r\nx\r\n')],
    ['a part without a name', form('--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n')],
    ['another disposition', form('--b\r\nContent-Disposition: attachment; name="model"\r\n\r\nx\r\n')],
    [
      'two dispositions',
      form(
        '--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n',
      ),
    ],
    ['two names', form('--b\r\nContent-Disposition: form-data; name="a"; name="model"\r\n\r\nx\r\n')],
    [
      'an encoded name',
      form('--b\r\nContent-Disposition: form-data; name="a"; name*=utf-8\'\'model\r\n\r\nx\r\n'),
    ],
    [
      'an escaped quote',
      form('--b\r\nContent-Disposition: form-data; filename="a\\"; name="model"\r\n\r\nx\r\n'),
    ],
    ['a folded header', form('--b\r\nContent-Disposition: form-data;\r\n name="model"\r\n\r\nx\r\n')],
    ['headers with LF', form('--b\r\nContent-Disposition: form-data; name="a"\nX: y\r\n\r\nx\r\n')],
    ['two models', form(field('model', 'm'), field('model', 'n'))],
    ['a model that is a file', form(field('model', 'm', '; filename="m"'))],
    [
      'an encoded model',
      form(
        '--b\r\nContent-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: base64\r\n\r\nbQ==\r\n',
      ),
    ],
    ['a look-alike of model', form(field('model', 'm'), field('Model', 'n'))],
    ['a list of models', form(field('model', 'm'), field('model[]', 'n'))],
    ['a model in percent', form(field('m%6fdel', 'n'))],
    ['a model with space around it', form(field(' model', 'n'))],
  ])('refuses %s', (_what, text) => expect(refusal(text)).toMatch(/^The multipart form /));

  it('bounds parts and headers', () => {
    const many = Array.from({ length: FORM_PARTS_MAX + 1 }, (_, index) => field(`f${index}`, ''));
    expect(refusal(form(...many))).toContain('more than 256 parts');
    expect(refusal(form(field('x'.repeat(FORM_HEADER_BYTES_MAX), '')))).toContain('headers');
  });

  it('takes linear time over hostile bytes', () => {
    const boundary = '-'.repeat(70);
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n`;
    for (const filling of ['-', '\r', '\r\n--', `\r\n--${'-'.repeat(69)}x`]) {
      const bytes = bytesOf(head + filling.repeat(4_000_000 / filling.length));
      const startedAt = performance.now();
      expect(scanForm(bytes, boundary).kind).toBe('refused');
      expect(performance.now() - startedAt).toBeLessThan(2_000);
    }
  });

  it('reads back every form that undici writes', async () => {
    const parts = fc.array(
      fc.tuple(fc.constantFrom('file', 'prompt', 'a"b', 'é\n'), fc.uint8Array({ maxLength: 300 })),
      {
        maxLength: 6,
      },
    );
    await fc.assert(
      fc.asyncProperty(parts, fc.string({ minLength: 1 }), async (given, name) => {
        const data = new FormData();
        const seen = new Set<string>();
        for (const [key, bytes] of given) {
          if (key === 'prompt' && seen.has(key)) continue;
          seen.add(key);
          if (key === 'prompt') data.append(key, 'hello');
          else data.append(key, new Blob([bytes]), 'näme".bin');
        }
        data.append('model', name);
        const request = new Request('http://x', { method: 'POST', body: data });
        const boundary = formBoundary(request.headers.get('content-type') ?? '') ?? '';
        const bytes = new Uint8Array(await request.arrayBuffer());
        const scanned = scanForm(bytes, boundary);
        if (scanned.kind !== 'form') throw new Error(scanned.message);
        const [lastPart] = scanned.parts.slice(-1);
        expect(lastPart?.name).toBe('model');
        const sent = await new Response(bytes, {
          headers: { 'content-type': request.headers.get('content-type') ?? '' },
        }).formData();
        expect(formField(bytes, scanned, 'model')).toBe(sent.get('model'));
      }),
      { numRuns: 100 },
    );
  });
});
