/** A multipart body: the files stay where they are, and the fields that the gateway must know are read. */
import type { ProviderCall } from '../../providers/provider.ts';
import { Refusal } from '../errors.ts';
import { formBoundary, formField, type FormScan, type ReadField, scanForm } from '../usage/form-scanner.ts';

interface ReadForm {
  readonly form: NonNullable<ProviderCall['form']>;
  /** Undefined when the form names none. */
  readonly model: string | undefined;
  readonly stream: boolean;
}

/**
 * Reads a form. `contentType` is the header that came with it.
 *
 * @throws {Refusal} 400 saying what is wrong with it and where.
 */
export function readForm(bytes: Uint8Array, contentType: string): ReadForm {
  const boundary = formBoundary(contentType);
  if (boundary === undefined) {
    throw new Refusal(
      'invalid_request',
      'The Content-Type must be multipart/form-data with one boundary of 1 to 70 plain characters.',
    );
  }
  const scanned = scanForm(bytes, boundary);
  if (scanned.kind !== 'form') throw new Refusal('invalid_request', scanned.message);
  return {
    form: { boundary: scanned.boundary, parts: scanned.parts, contentType },
    model: textOf(bytes, scanned, 'model'),
    stream: streamOf(textOf(bytes, scanned, 'stream')),
  };
}

function textOf(bytes: Uint8Array, form: FormScan, name: ReadField): string | undefined {
  const text = formField(bytes, form, name);
  if (text !== null) return text;
  throw new Refusal('invalid_request', `The field "${name}" is not valid UTF-8.`, { param: name });
}

/** As clients write a boolean into a form; Python's begins with a capital. */
function streamOf(text: string | undefined): boolean {
  if (text === undefined || text === '') return false;
  if (/^(?:true|1)$/i.test(text)) return true;
  if (/^(?:false|0)$/i.test(text)) return false;
  throw new Refusal('invalid_request', '"stream" must be true or false.', { param: 'stream' });
}
