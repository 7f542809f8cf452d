/** An upstream whose every model is a script of the test's own: what is written, when, and what becomes of the connection. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listening } from '../../src/simulator/http.ts';

export interface Exchange {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly response: ServerResponse;
}
export type Script = (exchange: Exchange) => void | Promise<void>;

export interface ScriptedUpstream {
  /** Without `/v1`. */
  readonly url: string;
  readonly seen: readonly Exchange[];
  /** Resolves when the connection of the exchange that was last begun is closed, by whomever. */
  closed(): Promise<void>;
  close(): Promise<void>;
}

export async function startScripted(scripts: Readonly<Record<string, Script>>): Promise<ScriptedUpstream> {
  const seen: Exchange[] = [];
  let closed = Promise.resolve();
  const http = listening(
    createServer(async (request, response) => {
      closed = new Promise((resolve) => response.once('close', resolve));
      let body = '';
      for await (const part of request) body += String(part);
      const exchange = { path: request.url ?? '', headers: request.headers, body, response };
      seen.push(exchange);
      const script = scripts[modelOf(exchange)];
      if (script === undefined) response.writeHead(404).end();
      else await script(exchange);
    }),
  );
  const url = await http.listen();
  return { url, seen, closed: () => closed, close: http.close };
}

/** In the body, or in a path as Gemini has it. */
function modelOf({ path, body }: Exchange): string {
  const inPath = /\/models\/([^/:]+):/.exec(path)?.[1];
  if (inPath !== undefined) return inPath;
  return body === '' ? '' : ((JSON.parse(body) as { model?: string }).model ?? '');
}

export const sse = (text: string): Script => {
  return ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(text);
  };
};
