/**
 * Every refusal the gateway itself makes: one table from code to status, type and hint; one function for the body in
 * each dialect. A message says what happened, which value, and what to do.
 */

export type Dialect = 'openai' | 'anthropic' | 'gemini';

interface ErrorKind {
  readonly status: number;
  /** OpenAI's `type`. */
  readonly type: string;
  /** Anthropic's `type`. */
  readonly anthropic: string;
  /** Gemini's `status`. */
  readonly gemini: string;
  /** Only where SDKs would guess wrong from the status. */
  readonly shouldRetry?: boolean;
}

const money = {
  status: 402,
  type: 'insufficient_quota',
  anthropic: 'billing_error',
  gemini: 'FAILED_PRECONDITION',
  shouldRetry: false,
};
const badRequest = {
  status: 400,
  type: 'invalid_request_error',
  anthropic: 'invalid_request_error',
  gemini: 'INVALID_ARGUMENT',
};

export const ERRORS = {
  credit_balance_exhausted: money,
  request_exceeds_balance: money,
  budget_exceeded: money,
  alert_triggered: money,
  customer_frozen: money,
  subscription_inactive: money,
  in_flight_budget_exceeded: { ...money, shouldRetry: true },
  model_not_priced: {
    status: 403,
    type: 'invalid_request_error',
    anthropic: 'permission_error',
    gemini: 'PERMISSION_DENIED',
  },
  rate_limit_exceeded: {
    status: 429,
    type: 'rate_limit_error',
    anthropic: 'rate_limit_error',
    gemini: 'RESOURCE_EXHAUSTED',
  },
  invalid_api_key: {
    status: 401,
    type: 'authentication_error',
    anthropic: 'authentication_error',
    gemini: 'UNAUTHENTICATED',
  },
  invalid_request: badRequest,
  unsupported_parameter: badRequest,
  previous_response_not_found: badRequest,
  customer_required: badRequest,
  customer_mismatch: {
    status: 403,
    type: 'permission_error',
    anthropic: 'permission_error',
    gemini: 'PERMISSION_DENIED',
  },
  customer_not_found: {
    status: 403,
    type: 'permission_error',
    anthropic: 'permission_error',
    gemini: 'PERMISSION_DENIED',
  },
  model_not_found: {
    status: 404,
    type: 'invalid_request_error',
    anthropic: 'not_found_error',
    gemini: 'NOT_FOUND',
  },
  not_found: {
    status: 404,
    type: 'invalid_request_error',
    anthropic: 'not_found_error',
    gemini: 'NOT_FOUND',
  },
  request_too_large: {
    status: 413,
    type: 'invalid_request_error',
    anthropic: 'request_too_large',
    gemini: 'INVALID_ARGUMENT',
  },
  headers_too_large: {
    status: 431,
    type: 'invalid_request_error',
    anthropic: 'invalid_request_error',
    gemini: 'INVALID_ARGUMENT',
  },
  request_timeout: {
    status: 408,
    type: 'invalid_request_error',
    anthropic: 'timeout_error',
    gemini: 'DEADLINE_EXCEEDED',
  },
  unsupported_encoding: {
    status: 415,
    type: 'invalid_request_error',
    anthropic: 'invalid_request_error',
    gemini: 'INVALID_ARGUMENT',
  },
  idempotency_key_reused: {
    status: 422,
    type: 'idempotency_error',
    anthropic: 'invalid_request_error',
    gemini: 'INVALID_ARGUMENT',
  },
  idempotency_in_progress: {
    status: 409,
    type: 'idempotency_error',
    anthropic: 'api_error',
    gemini: 'ABORTED',
    shouldRetry: true,
  },
  idempotency_reply_gone: {
    status: 409,
    type: 'idempotency_error',
    anthropic: 'invalid_request_error',
    gemini: 'FAILED_PRECONDITION',
    shouldRetry: false,
  },
  upstream_error: { status: 502, type: 'api_error', anthropic: 'api_error', gemini: 'UNAVAILABLE' },
  upstream_timeout: {
    status: 504,
    type: 'api_error',
    anthropic: 'timeout_error',
    gemini: 'DEADLINE_EXCEEDED',
  },
  ledger_unavailable: { status: 503, type: 'api_error', anthropic: 'api_error', gemini: 'UNAVAILABLE' },
  customer_unverified: { status: 503, type: 'api_error', anthropic: 'api_error', gemini: 'UNAVAILABLE' },
  internal_error: { status: 500, type: 'api_error', anthropic: 'api_error', gemini: 'INTERNAL' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** What a money refusal tells beside its code. Amounts are decimal text in USD. */
export interface MoneyDetails {
  readonly limit_source: string | null;
  readonly balance_usd: string | null;
  readonly required_usd: string | null;
  readonly resets_at: string | null;
  readonly top_up_url: string | null;
  readonly remedy_hint: string;
}

interface RefusalExtras {
  readonly param?: string;
  readonly details?: MoneyDetails;
  readonly headers?: Readonly<Record<string, string>>;
  readonly retryAfterS?: number;
}

/** A refusal on its way to the caller. Thrown inside the request path, answered in one place. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: ErrorCode;
  /** The request's parameter at fault, where there is one. */
  readonly param: string | null;
  readonly details: MoneyDetails | null;
  /** Further headers of the reply. */
  readonly headers: Readonly<Record<string, string>>;
  /** Seconds after which it is worth trying again, where that is known. */
  readonly retryAfterS: number | null;
  constructor(code: ErrorCode, message: string, more: RefusalExtras = {}) {
    super(message);
    this.code = code;
    this.param = more.param ?? null;
    this.details = more.details ?? null;
    this.headers = more.headers ?? {};
    this.retryAfterS = more.retryAfterS ?? null;
  }
}

/** The reply to a refusal: status, headers and body in the caller's dialect. */
export function refusalReply(
  refusal: Refusal,
  dialect: Dialect,
  requestId: string,
): {
  status: number;
  headers: Record<string, string>;
  body: string;
} {
  const kind: ErrorKind = ERRORS[refusal.code];
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    ...requestIdHeaders(dialect, requestId),
    'x-faregate-error': refusal.code,
  };
  if (kind.shouldRetry !== undefined) headers['x-should-retry'] = String(kind.shouldRetry);
  Object.assign(headers, refusal.headers);
  return { status: kind.status, headers, body: JSON.stringify(errorBody(refusal, dialect, requestId)) };
}

/** What every reply carries: the request's id, under the vendor's own name as well. */
export const requestIdHeaders = (dialect: Dialect, requestId: string): Record<string, string> =>
  dialect === 'anthropic'
    ? { 'x-request-id': requestId, 'request-id': requestId }
    : { 'x-request-id': requestId };

/** The dialect's error object: a reply's body, or the data of a stream's last event. */
export function errorBody(refusal: Refusal, dialect: Dialect, requestId: string): unknown {
  const kind: ErrorKind = ERRORS[refusal.code];
  switch (dialect) {
    case 'openai':
      return {
        error: {
          message: refusal.message,
          type: kind.type,
          param: refusal.param,
          code: refusal.code,
          ...(refusal.details === null ? {} : { metadata: refusal.details }),
        },
      };
    case 'anthropic':
      return {
        type: 'error',
        error: { type: kind.anthropic, message: refusal.message },
        request_id: requestId,
      };
    case 'gemini':
      return {
        error: {
          code: kind.status,
          status: kind.gemini,
          message: refusal.message,
          details: [
            {
              '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
              reason: refusal.code.toUpperCase(),
              domain: 'faregate',
              metadata: { code: refusal.code, ...definedText(refusal.details) },
            },
            ...(refusal.retryAfterS === null ? [] : [retryInfo(refusal.retryAfterS)]),
          ],
        },
      };
  }
}

/** Where Gemini's clients look for how long to wait. */
const retryInfo = (seconds: number): unknown => ({
  '@type': 'type.googleapis.com/google.rpc.RetryInfo',
  retryDelay: `${seconds}s`,
});

const definedText = (details: MoneyDetails | null): Record<string, string> =>
  Object.fromEntries(
    Object.entries(details ?? {}).filter((entry): entry is [string, string] => entry[1] !== null),
  );
