/**
 * Recorded provider traffic, kept outside the repository: the directory named by FAREGATE_RECORDINGS holds `cases.jsonl`
 * (requests and replies) and `expected.jsonl` (what a meter must make of them), line by line the same cases.
 */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** What a recorded reply must be metered as. Null is "not told". */
export interface ExpectedUsage {
  readonly id: string;
  readonly api: string;
  readonly provider: string;
  readonly stream: boolean;
  readonly status: number;
  readonly error: boolean;
  readonly input_tokens: number | null;
  readonly uncached_input_tokens: number | null;
  readonly cached_input_tokens: number | null;
  readonly cache_write_tokens: number | null;
  readonly output_tokens: number | null;
  readonly reasoning_tokens: number | null;
  readonly model: string | null;
  readonly model_requested: string | null;
  readonly response_id: string | null;
  readonly accept: readonly { readonly input_tokens: number | null; readonly output_tokens: number | null }[];
  readonly ambiguous: boolean;
  readonly strict: boolean;
  /** False for a reply that must give no reported usage: errors, and streams without any. */
  readonly metered: boolean;
  readonly flags: readonly string[];
  /** The vendor's own usage, as it stood in the reply. */
  readonly raw_usage: Readonly<Record<string, unknown>> | null;
  /** Uses of Anthropic's own tools, where there were any. */
  readonly server_tool_use?: Readonly<Record<string, number>> | null;
}

export interface RecordedCase {
  readonly id: string;
  readonly api: string;
  readonly provider: string;
  readonly stream: boolean;
  readonly status: number;
  /** The request's JSON where it was recorded. */
  readonly request: unknown;
  /** Long values were cut out of the request: its bytes are not those that were sent. */
  readonly requestTrimmed: boolean;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** The reply's body, byte for byte. */
  readonly body: Uint8Array;
  readonly expected: ExpectedUsage;
}

/** The directory of recordings; undefined when the environment names none. */
export const recordingsDirectory: string | undefined = process.env['FAREGATE_RECORDINGS'];

/** The recorded cases that the filter lets through, one at a time: a case that it does not is never parsed. */
export async function* recordedCases(
  filter: (expected: ExpectedUsage) => boolean,
  directory: string | undefined = recordingsDirectory,
): AsyncGenerator<RecordedCase> {
  if (directory === undefined) return;
  const expectations = linesOf(join(directory, 'expected.jsonl'));
  for await (const line of linesOf(join(directory, 'cases.jsonl'))) {
    const next = await expectations.next();
    if (next.done === true) throw new Error('expected.jsonl has fewer lines than cases.jsonl');
    const expected = JSON.parse(next.value) as ExpectedUsage;
    if (!filter(expected)) continue;
    const recorded = JSON.parse(line) as RawCase;
    if (recorded.id !== expected.id) throw new Error(`${recorded.id} stands beside ${expected.id}`);
    yield caseOf(recorded, expected);
  }
}

interface RawCase {
  readonly id: string;
  readonly api: string;
  readonly provider: string;
  readonly stream: boolean;
  readonly status: number;
  readonly request?: unknown;
  readonly request_trimmed?: boolean;
  readonly response_headers?: Readonly<Record<string, string>> | null;
  readonly response_body?: string | null;
  readonly response_body_b64?: string | null;
}

function caseOf(raw: RawCase, expected: ExpectedUsage): RecordedCase {
  const body =
    typeof raw.response_body_b64 === 'string'
      ? new Uint8Array(Buffer.from(raw.response_body_b64, 'base64'))
      : new TextEncoder().encode(raw.response_body ?? '');
  const headers = Object.entries(raw.response_headers ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    String(value),
  ]);
  return {
    id: raw.id,
    api: raw.api,
    provider: raw.provider,
    stream: raw.stream,
    status: raw.status,
    request: raw.request ?? null,
    requestTrimmed: raw.request_trimmed === true,
    headers: Object.fromEntries(headers) as Record<string, string>,
    body,
    expected,
  };
}

async function* linesOf(path: string): AsyncGenerator<string> {
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    if (line !== '') yield line;
  }
}
