/**
 * What any gateway is measured against: Node's http server and undici, and nothing between them. `stream` is undici's own
 * API for passing a reply on; `request` its main one, with a pipeline and the headers passed on both ways, as a proxy is
 * usually written; `dispatch` is the layer below both, the least that can be done. `ledger` is `dispatch` and a durable
 * record of each call: opened before the upstream is asked, settled before the reply is complete.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import { Pool } from 'undici';
import { createRecording } from './recording.ts';

interface Call {
  readonly request: IncomingMessage;
  readonly body: Buffer;
  readonly response: ServerResponse;
}
type Headers = Record<string, string | string[] | undefined>;

const [origin = '', api = 'stream'] = process.argv.slice(2);
const upstream = new Pool(origin, { connections: 256 });
const headers = { 'content-type': 'application/json', authorization: 'Bearer bench' };
const pass = await passBy(api);

const server = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => pass({ request, body: Buffer.concat(pieces), response }));
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(JSON.stringify({ port: typeof address === 'object' && address !== null ? address.port : 0 }));
});

async function passBy(name: string): Promise<(call: Call) => void> {
  if (name === 'request') return requested;
  if (name === 'stream') return streamed;
  if (name === 'dispatch') return (call) => dispatched(call, () => call.response.end());
  const recording = await createRecording();
  return (call) => {
    const { response } = call;
    const failed = (): void => void response.destroy();
    recording.open().then((id) => {
      dispatched(call, () => void recording.settle(id).then(() => response.end(), failed));
    }, failed);
  };
}

/** Hop-by-hop (RFC 9110, 7.6.1), and what is set anew. */
const STAYS = new Set(
  'connection,keep-alive,te,trailer,transfer-encoding,upgrade,host,content-length'.split(','),
);

function passedOn(all: Headers): Headers {
  const passed: Headers = {};
  for (const name in all) if (!STAYS.has(name)) passed[name] = all[name];
  return passed;
}

function requested({ request, body, response }: Call): void {
  const path = request.url ?? '/';
  upstream.request({ path, method: 'POST', headers: passedOn(request.headers), body }).then(
    (reply) => {
      response.writeHead(reply.statusCode, passedOn(reply.headers));
      pipeline(reply.body, response, () => undefined);
    },
    () => response.destroy(),
  );
}

function streamed({ request, body, response }: Call): void {
  const reply = upstream.stream({ path: request.url ?? '/', method: 'POST', headers, body }, (head) =>
    response.writeHead(head.statusCode, { 'content-type': String(head.headers['content-type']) }),
  );
  reply.catch(() => response.destroy());
}

function dispatched({ request, body, response }: Call, ended: () => void): void {
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
      onResponseEnd: ended,
      onResponseError() {
        response.destroy();
      },
    },
  );
}
