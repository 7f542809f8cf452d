/** What Node refuses before the application sees it: answered as every refusal is, with an id and a code. */
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ErrorCode, Refusal, refusalReply } from '../errors.ts';

type Handler = (incoming: IncomingMessage, outgoing: ServerResponse) => void;
type NewId = () => string;

/** The codes of Node's parser that are not a plain 400. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'request_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};
const MESSAGES: Readonly<Partial<Record<ErrorCode, string>>> = {
  headers_too_large: 'The head of the request is too long, or has too many headers.',
  request_timeout: 'The request did not come whole in time.',
};

/** Answers what is no HTTP, or too long or too slow for it, and ends the connection: what follows cannot be read. */
export function answerMalformed(server: Server, newId: NewId): void {
  server.on('clientError', (error: Error & { code?: string; reason?: string }, socket: Duplex) => {
    const code = CODES[error.code ?? ''] ?? 'invalid_request';
    const why = error.reason ?? error.message;
    // Into a reply that has begun nothing can be put.
    if (socket.writable && !hasBegun(socket)) {
      socket.write(asText(new Refusal(code, MESSAGES[code] ?? `The request is no HTTP: ${why}.`), newId()));
    }
    (socket as Socket).destroySoon();
  });
  server.on('checkExpectation', (_incoming: IncomingMessage, outgoing: ServerResponse) =>
    refuse(outgoing, new Refusal('invalid_request', 'Expect can only be 100-continue.'), newId),
  );
}

/** HTTP/1.1 asks for one Host, HTTP/1.0 for none: without `requireHostHeader`, which answers by itself, we look. */
export function requiringHost(handler: Handler, newId: NewId): Handler {
  return (incoming, outgoing) => {
    if (incoming.headers.host !== undefined || incoming.httpVersion === '1.0')
      return handler(incoming, outgoing);
    return refuse(outgoing, new Refusal('invalid_request', 'The request names no Host.'), newId);
  };
}

function refuse(outgoing: ServerResponse, refusal: Refusal, newId: NewId): void {
  const { status, headers, body } = refusalReply(refusal, 'openai', `req_${newId()}`);
  const length = Buffer.byteLength(body);
  outgoing.writeHead(status, { ...headers, 'content-length': length, connection: 'close' }).end(body);
}

/** Node keeps with a socket the reply that is under way on it. */
const hasBegun = (socket: Duplex & { readonly _httpMessage?: ServerResponse | null }): boolean =>
  socket._httpMessage?.headersSent === true;

function asText(refusal: Refusal, id: string): string {
  const { status, headers, body } = refusalReply(refusal, 'openai', `req_${id}`);
  const lines = Object.entries({
    ...headers,
    'content-length': String(Buffer.byteLength(body)),
    date: new Date().toUTCString(),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`;
}
