import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Pool } from 'undici';
const upstream = new Pool(process.argv[2] ?? '', { connections: 256 });
const app = new Hono();
app.get('/healthz', (c) => c.text('ok'));
app.get('/v1/models', (c) => c.text('ok'));
app.post('/v1/chat/completions', (c) => {
  const { incoming, outgoing: response } = c.env as any;
  return new Promise<Response>((done) => {
    const pieces: Buffer[] = [];
    incoming.on('data', (p: Buffer) => pieces.push(p));
    incoming.on('end', () => {
      upstream.dispatch(
        {
          path: incoming.url,
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: 'Bearer bench' },
          body: Buffer.concat(pieces),
        },
        {
          onRequestStart() {},
          onResponseStart(_c, status, headers) {
            response.writeHead(status, { 'content-type': String(headers['content-type']) });
          },
          onResponseData(controller, chunk) {
            if (response.write(chunk)) return;
            controller.pause();
            response.once('drain', () => controller.resume());
          },
          onResponseEnd() {
            response.end();
            done(RESPONSE_ALREADY_SENT);
          },
          onResponseError() {
            response.destroy();
            done(RESPONSE_ALREADY_SENT);
          },
        },
      );
    });
  });
});
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, (i) =>
  console.log(JSON.stringify({ port: i.port })),
);
