/** The plain HTTP under both stand-ins: read a bounded body, answer JSON, and Stripe's error bodies. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface StripeErrorFields {
  readonly status: number;
  readonly message: string;
  /** v1's `type`; v2 errors mostly carry only a code. */
  readonly type?: string;
  readonly code?: string;
  readonly param?: string;
  /** Further members of the error, such as a card's `decline_code`. */
  readonly more?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer of Stripe's that is an error; thrown by routes, answered in one place. */
export class StripeFailure extends Error {
  override readonly name = 'StripeFailure';
  readonly fields: StripeErrorFields;
  constructor(fields: StripeErrorFields) {
    super(fields.message);
    this.fields = fields;
  }
  reply(requestId: string): Reply {
    const { status, message, type, code, param, more, headers } = this.fields;
    const error = {
      ...(code === undefined ? {} : { code, doc_url: `https://stripe.com/docs/error-codes/${code}` }),
      message,
      ...(param === undefined ? {} : { param }),
      request_log_url: `https://dashboard.stripe.com/test/logs/${requestId}`,
      ...(type === undefined ? {} : { type }),
      ...more,
    };
    return { status, body: { error }, ...(headers === undefined ? {} : { headers }) };
  }
}

/** Stripe's 404, whose wording its users match on. */
export const missing = (what: string, id: string, param = 'id'): StripeFailure =>
  new StripeFailure({
    status: 404,
    type: 'invalid_request_error',
    code: 'resource_missing',
    message: `No such ${what}: '${id}'`,
    param,
  });

export const invalid = (message: string, more: { code?: string; param?: string } = {}): StripeFailure =>
  new StripeFailure({ status: 400, type: 'invalid_request_error', message, ...more });

/** Reads the whole body. Throws a 413 `StripeFailure` past `bytesMax`. */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > bytesMax) {
      throw new StripeFailure({
        status: 413,
        type: 'invalid_request_error',
        message: `The request body is larger than ${bytesMax} bytes.`,
      });
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

export function sendJson(response: ServerResponse, reply: Reply): void {
  if (response.destroyed || response.headersSent) return;
  const body = JSON.stringify(reply.body);
  response.writeHead(reply.status, {
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    ...reply.headers,
  });
  response.end(body);
}

/** A header's single value; the first where it was sent twice. */
export function headerText(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

export interface Listening {
  /** Listens on the loopback address and answers with the base URL, without a slash at its end. Port 0 picks a free one. */
  listen(port?: number, host?: string): Promise<string>;
  /** The base URL. Throws before `listen`. */
  readonly url: string;
  /** Stops listening and cuts the connections that are open. */
  close(): Promise<void>;
}

/** Gives a `node:http` server a life cycle that ends: connections still open at `close` are cut. */
export function listening(server: Server): Listening {
  let url: string | undefined;
  // Node's 5 s race with a client's reuse of the connection, and the client sees a reset that nobody ordered.
  server.keepAliveTimeout = 65_000;
  return {
    listen: (port = 0, host = '127.0.0.1') =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, () => {
          server.off('error', reject);
          const address = server.address();
          const bound = typeof address === 'object' && address !== null ? address.port : port;
          url = `http://${host.includes(':') ? `[${host}]` : host}:${bound}`;
          resolve(url);
        });
      }),
    get url() {
      if (url === undefined) throw new Error('The server is not listening yet: call listen() first.');
      return url;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
