/**
 * What any gateway is measured against: Node's http server and undici, and nothing between them. `stream` is undici's own
 * API for passing a reply on; `dispatch` is the layer below it, the least that can be done.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Pool } from 'undici';

const [origin = '', api = 'stream'] = process.argv.slice(2);
const upstream = new Pool(origin, { connections: 256 });
const headers = { 'content-type': 'application/json', authorization: 'Bearer bench' };
const pass = api === 'dispatch' ? dispatched : streamed;

const server = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => pass(request, Buffer.concat(pieces), response));
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(JSON.stringify({ port: typeof address === 'object' && address !== null ? address.port : 0 }));
});

function streamed(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
  const reply = upstream.stream({ path: request.url ?? '/', method: 'POST', headers, body }, (head) =>
    response.writeHead(head.statusCode, { 'content-type': String(head.headers['content-type']) }),
  );
  reply.catch(() => response.destroy());
}

function dispatched(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
  upstream.dispatch(
    { path: request.url ?? '/', method: 'POST', headers, body },
    {
      onRequestStart() {},
      onResponseStart(_controller, status, replied) {
        response.writeHead(status, { 'content-type': String(replied['content-type']) });
      },
      onResponseData(controller, chunk) {
        if (response.write(chunk)) return;
        controller.pause();
        response.once('drain', () => controller.resume());
      },
      onResponseEnd() {
        response.end();
      },
      onResponseError() {
        response.destroy();
      },
    },
  );
}
