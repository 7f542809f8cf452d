/**
 * A provider that keeps responses, for tests, over real HTTP: one in the background goes on until the test ends it. The
 * model's name says how it behaves: `breaks` breaks off its stream, `silent` never tells its usage.
 */
import { createServer, type ServerResponse } from 'node:http';
import { listening } from '../../src/simulator/http.ts';

export interface KeptResponse {
  readonly id: string;
  readonly model: string;
  readonly background: boolean;
  status: string;
  completedAtS: number | null;
}

export interface TestResponses {
  /** With its version. */
  readonly url: string;
  /** Method and path with query, in order. */
  readonly seen: string[];
  readonly bodies: Record<string, unknown>[];
  readonly kept: Map<string, KeptResponse>;
  /** The id of the latest response. */
  latest(): string;
  /** Ends one that is in the background. */
  end(id: string, status?: string): void;
  close(): Promise<void>;
}

export const STORED_USAGE = {
  input_tokens: 20,
  input_tokens_details: { cached_tokens: 4 },
  output_tokens: 9,
  output_tokens_details: { reasoning_tokens: 3 },
  total_tokens: 29,
};

export async function startTestResponses(): Promise<TestResponses> {
  const seen: string[] = [];
  const bodies: Record<string, unknown>[] = [];
  const kept = new Map<string, KeptResponse>();
  const waiting = new Map<string, PromiseWithResolvers<void>>();
  let made = 0;
  const make = (body: Readonly<Record<string, unknown>>): KeptResponse => {
    const background = body['background'] === true;
    const one: KeptResponse = {
      id: `resp_${(made += 1)}`,
      model: String(body['model']),
      background,
      status: background ? 'queued' : 'completed',
      completedAtS: null,
    };
    kept.set(one.id, one);
    waiting.set(one.id, Promise.withResolvers());
    return one;
  };
  const end: TestResponses['end'] = (id, status = 'completed') => {
    const one = kept.get(id);
    if (one === undefined) throw new Error(`There is no response ${id}.`);
    one.status = status;
    one.completedAtS = status === 'completed' ? Math.floor(Date.now() / 1000) : null;
    waiting.get(id)?.resolve();
  };
  const http = listening(
    createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      seen.push(`${request.method} ${request.url}`);
      const url = new URL(request.url ?? '/', 'http://vendor');
      const text = Buffer.concat(pieces).toString();
      const [, id = '', rest = ''] = /^\/v1\/responses\/([^/]+)(\/.*)?$/.exec(url.pathname) ?? [];
      if (request.method === 'POST' && id === '') {
        const body = JSON.parse(text) as Record<string, unknown>;
        bodies.push(body);
        const one = make(body);
        if (body['stream'] !== true) return json(response, bodyOf(one));
        return stream(response, one, { over: waiting.get(one.id)?.promise });
      }
      const one = kept.get(id);
      if (one === undefined) {
        const message = `Response with id '${id}' not found.`;
        return json(
          response,
          { error: { message, type: 'invalid_request_error', param: null, code: null } },
          404,
        );
      }
      if (request.method === 'DELETE') {
        kept.delete(id);
        return json(response, { id, object: 'response', deleted: true });
      }
      if (rest === '/cancel') end(id, 'cancelled');
      if (rest === '/input_items')
        return json(response, { object: 'list', data: [{ type: 'message', id: 'msg_1' }] });
      if (url.searchParams.get('stream') === 'true')
        return stream(response, one, { over: waiting.get(id)?.promise });
      json(response, bodyOf(one));
    }),
  );
  return {
    url: `${await http.listen()}/v1`,
    seen,
    bodies,
    kept,
    latest: () => `resp_${made}`,
    end,
    close() {
      for (const one of waiting.values()) one.resolve();
      return http.close();
    },
  };
}

function bodyOf(one: KeptResponse): object {
  const isOver = one.status === 'completed' || one.status === 'incomplete';
  const content = [{ type: 'output_text', text: 'Paid at the gate.', annotations: [] }];
  return {
    id: one.id,
    object: 'response',
    created_at: 1_700_000_000,
    completed_at: one.completedAtS,
    background: one.background,
    status: one.status,
    model: `${one.model}-2026-01-01`,
    error: one.status === 'failed' ? { code: 'server_error', message: 'It failed.' } : null,
    output: isOver ? [{ id: 'msg_1', type: 'message', role: 'assistant', status: 'completed', content }] : [],
    usage: isOver && one.model !== 'silent' ? STORED_USAGE : null,
  };
}

async function stream(
  response: ServerResponse,
  one: KeptResponse,
  { over }: { readonly over: Promise<void> | undefined },
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (type: string): void => {
    const event = { type, sequence_number: 0, response: bodyOf(one) };
    response.write(`event: ${type}\ndata: ${JSON.stringify(event)}\n\n`);
  };
  send('response.created');
  await new Promise((resolve) => setTimeout(resolve, 5));
  if (one.model === 'breaks') return void response.destroy();
  if (one.background) await over;
  send(`response.${one.status}`);
  response.end();
}

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
