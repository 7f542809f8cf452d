import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Caller } from '../../src/gateway/ports.ts';
import { createNodeCaller } from '../../src/platform/node-caller.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serving(serve: (caller: Caller) => void, stalledMs?: number): Promise<string> {
  const server = createServer((incoming, outgoing) => serve(createNodeCaller(incoming, outgoing, stalledMs)));
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/x?y=1`;
}

describe('a caller on Node', () => {
  it('who takes no bytes while bytes wait for him has left', async () => {
    const { promise: left, resolve } = Promise.withResolvers<void>();
    const url = await serving((caller) => {
      caller.reply.onGone(resolve);
      // The kernel's buffers take megabytes before anything waits.
      const more = (): void => {
        while (caller.reply.write(new Uint8Array(1_048_576)));
      };
      caller.reply.onDrain(more);
      caller.reply.head(200, {});
      more();
    }, 50);
    const asking = request(url).on('error', () => undefined);
    asking.on('response', (response) => response.pause());
    asking.end();
    await left;
    asking.destroy();
  });

  it('who reads on, however slowly, has not left', async () => {
    let left = false;
    const url = await serving((caller) => {
      caller.reply.onGone(() => (left = true));
      const pieces = 8;
      let sent = 0;
      const more = (): void => {
        while (sent < pieces) {
          sent += 1;
          if (!caller.reply.write(new Uint8Array(1_048_576))) return;
        }
        caller.reply.end();
      };
      caller.reply.onDrain(more);
      caller.reply.head(200, {});
      more();
    }, 2_000);
    const response = await fetch(url);
    expect((await response.arrayBuffer()).byteLength).toBe(8 * 1_048_576);
    expect(left).toBe(false);
  });

  it('is known by his path without the query, and by every header line apart', async () => {
    const seen = Promise.withResolvers<Caller>();
    const url = await serving((caller) => {
      seen.resolve(caller);
      caller.reply.head(204, {});
      caller.reply.end();
    });
    const asking = request(url, { headers: { 'X-Twice': ['a', 'b'] } })
      .on('error', () => undefined)
      .end();
    const caller = await seen.promise;
    expect(caller.path).toBe('/v1/x');
    expect(caller.headers.join(' ')).toContain('x-twice a x-twice b');
    asking.destroy();
  });
});
