/** A vendor's error, read from any of the shapes they come in, and what it is called in each dialect. */
import { isRecord, listOf, textOf } from '../../src/usage/json-value.ts';
import type { ReplyError } from './reply.ts';

/** Of a body that is no JSON, so much is quoted, in characters: a page of HTML tells nothing after its title. */
const QUOTED_MAX = 1000;

/** Reads an error body, whole or an event's. `text` stands for a body that is no JSON. */
export function readError(body: unknown, status: number | undefined, text = ''): ReplyError {
  const root = isRecord(body) ? body : isRecord(listOf(body)[0]) ? listOf(body)[0] : {};
  const record = isRecord(root) ? root : {};
  // xAI and Ollama: {"error": "words"}; Mistral and others: {"detail": …}; most: {"error": {…}}.
  const error = record['error'] ?? record['detail'] ?? record;
  const fields = isRecord(error) ? error : {};
  const told = textOf(fields['message']) ?? textOf(error) ?? textOf(record['message']);
  return {
    status: status ?? statusOf(fields['code'] ?? fields['status_code']),
    message: told ?? unspoken(error, text, status),
    type: textOf(fields['type']) ?? textOf(fields['status']),
    code: codeOf(fields['code'] ?? record['code']),
    param: textOf(fields['param']),
  };
}

function unspoken(error: unknown, text: string, status: number | undefined): string {
  const json = isRecord(error) && Object.keys(error).length === 0 ? '' : JSON.stringify(error);
  const quoted = (text.trim() === '' ? json : text.trim()).slice(0, QUOTED_MAX);
  if (quoted !== '') return quoted;
  return status === undefined ? 'The provider reported an error.' : `The provider answered ${status}.`;
}

/** An HTTP status that stands in the place of a code. */
const statusOf = (code: unknown): number | undefined =>
  typeof code === 'number' && Number.isInteger(code) && code >= 400 && code < 600 ? code : undefined;

const codeOf = (code: unknown): string | undefined =>
  typeof code === 'number' ? String(code) : textOf(code);

/** The kinds of errors that all vendors have, whatever they call them. */
type ErrorKind =
  | 'invalid'
  | 'credential'
  | 'money'
  | 'permission'
  | 'not_found'
  | 'too_large'
  | 'rate'
  | 'timeout'
  | 'overloaded'
  | 'internal';

const BY_STATUS: Readonly<Record<number, ErrorKind>> = {
  400: 'invalid',
  401: 'credential',
  402: 'money',
  403: 'permission',
  404: 'not_found',
  408: 'timeout',
  409: 'invalid',
  413: 'too_large',
  422: 'invalid',
  429: 'rate',
  500: 'internal',
  503: 'overloaded',
  504: 'timeout',
  529: 'overloaded',
};

/** What vendors call their errors in a stream, where no status tells. */
const BY_NAME: Readonly<Record<string, ErrorKind>> = {
  invalid_request_error: 'invalid',
  invalid_prompt: 'invalid',
  INVALID_ARGUMENT: 'invalid',
  FAILED_PRECONDITION: 'invalid',
  authentication_error: 'credential',
  invalid_api_key: 'credential',
  UNAUTHENTICATED: 'credential',
  billing_error: 'money',
  insufficient_quota: 'money',
  permission_error: 'permission',
  PERMISSION_DENIED: 'permission',
  not_found_error: 'not_found',
  NOT_FOUND: 'not_found',
  request_too_large: 'too_large',
  rate_limit_error: 'rate',
  rate_limit_exceeded: 'rate',
  RESOURCE_EXHAUSTED: 'rate',
  timeout_error: 'timeout',
  DEADLINE_EXCEEDED: 'timeout',
  overloaded_error: 'overloaded',
  UNAVAILABLE: 'overloaded',
};

interface Names {
  readonly openai: string;
  readonly anthropic: string;
  readonly gemini: string;
  /** Gemini repeats a status in its body: the one for an error that came without. */
  readonly status: number;
}

const NAMES: Readonly<Record<ErrorKind, Names>> = {
  invalid: names('invalid_request_error', 'invalid_request_error', 'INVALID_ARGUMENT', 400),
  credential: names('authentication_error', 'authentication_error', 'UNAUTHENTICATED', 401),
  money: names('insufficient_quota', 'billing_error', 'FAILED_PRECONDITION', 402),
  permission: names('permission_error', 'permission_error', 'PERMISSION_DENIED', 403),
  not_found: names('invalid_request_error', 'not_found_error', 'NOT_FOUND', 404),
  too_large: names('invalid_request_error', 'request_too_large', 'INVALID_ARGUMENT', 413),
  rate: names('rate_limit_error', 'rate_limit_error', 'RESOURCE_EXHAUSTED', 429),
  timeout: names('api_error', 'timeout_error', 'DEADLINE_EXCEEDED', 504),
  overloaded: names('api_error', 'overloaded_error', 'UNAVAILABLE', 503),
  internal: names('api_error', 'api_error', 'INTERNAL', 500),
};

function names(openai: string, anthropic: string, gemini: string, status: number): Names {
  return { openai, anthropic, gemini, status };
}

/** What the error is called in each dialect. */
export function errorNames({ status, type, code }: ReplyError): Names {
  const byStatus = status === undefined ? undefined : BY_STATUS[status];
  const kind = byStatus ?? BY_NAME[type ?? ''] ?? BY_NAME[code ?? ''] ?? byRange(status);
  return NAMES[kind];
}

const byRange = (status: number | undefined): ErrorKind =>
  status !== undefined && status >= 400 && status < 500 ? 'invalid' : 'internal';

/** The error object of OpenAI's dialects: the vendor's own code where it has one. A number is the status again. */
export const openaiError = (
  error: ReplyError,
): { message: string; type: string; param: string | null; code: string | null } => ({
  message: error.message,
  type: errorNames(error).openai,
  param: error.param ?? null,
  code: (/^\d+$/u.test(error.code ?? '') ? undefined : error.code) ?? error.type ?? null,
});
