/**
 * Every route on one screen. START HERE.
 *
 * The same application runs on Node, in workerd and in a test: what differs is how a caller is answered (`serve`).
 */
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { getPath } from 'hono/utils/url';
import { paidReply } from './billing/top-ups/links.ts';
import { WEBHOOK_BYTES_MAX } from './billing/stripe/webhooks.ts';
import { type Dialect, Refusal, refusalReply } from './errors.ts';
import { BODY_ENDPOINTS, modelInPath, VERSIONS } from './gateway/endpoints.ts';
import type { Inference } from './gateway/inference.ts';
import { type Models, modelsDialect } from './gateway/models.ts';
import type { Caller } from './gateway/ports.ts';
import type { Stored } from './gateway/stored.ts';
import type { ReadName, Reads } from './gateway/reads.ts';
import { LedgerUnavailable } from './ledger/ledger.ts';
import { bytesUpTo, textUpTo } from './request-body.ts';
import type { Runtime } from './runtime.ts';

export interface AppOptions {
  readonly runtime: Runtime;
  readonly inference: Inference;
  readonly models: Models;
  readonly stored: Stored;
  readonly reads: Reads;
  /** `POST /v1/usage/record`, for the operator. */
  readonly record: (request: RecordRequest) => Promise<Response>;
  readonly webhooks: {
    receive(body: Uint8Array, signature: string | null): Promise<{ status: number; message: string }>;
  };
  /** The way of a customer's link to a checkout. */
  readonly topUp: (token: string, amount: string | undefined) => Promise<Response>;
  /** The operator's routes, under `/admin/v1`. */
  readonly admin: Hono;
  /** Whether calls can be served: the ledger takes writes, the process is not draining. */
  readonly ready: () => Promise<{
    readonly ready: boolean;
    readonly detail: Readonly<Record<string, unknown>>;
  }>;
  /**
   * The path as it was sent, where the runtime has it: routes are matched with it, so that nothing reaches one by way of
   * `..` or an encoded letter, past whoever guards paths before us.
   */
  readonly rawPath?: (env: unknown) => string | undefined;
  /** Hands the caller of a request to the gateway: Node's own sockets, or a Response. */
  readonly serve: (context: Context, work: (caller: Caller) => Promise<void>) => Response | Promise<Response>;
}

/** A request of the operator's with its body, read whole. */
export interface RecordRequest {
  header(name: string): string | undefined;
  readonly body: string;
}

/** One unit is a few hundred bytes. */
const RECORD_BYTES_MAX = 65_536;

export function createApp(options: AppOptions): Hono {
  const { inference, models, reads, serve } = options;
  const reading = (name: ReadName) => (c: Context) =>
    serve(c, (caller) => refusing(caller, options, () => reads(name, caller)));
  const app = new Hono({ getPath: (request, given) => options.rawPath?.(given?.env) ?? getPath(request) });

  for (const { path, endpoint } of BODY_ENDPOINTS)
    app.post(path, (c) => serve(c, (caller) => inference.serve({ endpoint }, caller)));
  for (const version of VERSIONS) {
    app.post(`/${version}/models/:rest{.+}`, (c) => {
      const asked = modelInPath(c.req.param('rest') ?? '');
      return asked === undefined ? c.notFound() : serve(c, (caller) => inference.serve(asked, caller));
    });
    app.get(`/${version}/models`, (c) =>
      serve(c, (caller) => refusing(caller, options, () => models(caller))),
    );
    app.get(`/${version}/models/:id{.+}`, (c) =>
      serve(c, (caller) => refusing(caller, options, () => models(caller, c.req.param('id')))),
    );
  }

  addStored(app, options);
  app.get('/v1/usage', reading('usage'));
  app.get('/v1/usage/invoice-preview', reading('invoice-preview'));
  app.get('/v1/credits', reading('credits'));
  app.get('/v1/key', reading('key'));
  app.get('/v1/generation', reading('generation'));
  for (const path of OWN_PATHS) app.use(path, withRequestId(options.runtime));
  app.post('/v1/usage/record', async (c) => {
    const body = await textUpTo(RECORD_BYTES_MAX, c.req.raw);
    return options.record({ header: (name) => c.req.header(name), body });
  });

  app.post('/webhooks/stripe', async (c) => {
    const body = await bytesUpTo(WEBHOOK_BYTES_MAX, c.req.raw);
    if (body === undefined)
      return c.json({ error: { message: `The body is over ${WEBHOOK_BYTES_MAX} bytes.` } }, 400);
    const { status, message } = await options.webhooks.receive(
      body,
      c.req.header('stripe-signature') ?? null,
    );
    return Response.json(status === 200 ? { received: true } : { error: { message } }, { status });
  });

  app.get('/top-up/paid', () => paidReply());
  app.get('/top-up/:token', (c) => options.topUp(c.req.param('token'), c.req.query('amount')));

  app.route('/admin/v1', options.admin);

  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', async (c) => {
    const { ready, detail } = await options.ready();
    return c.json({ ready, ...detail }, ready ? 200 : 503);
  });

  app.notFound((c) => refusalResponse(notFound(c.req.method, c.req.path), dialectOf(c), options.runtime));
  app.onError((error, c) => {
    return refusalResponse(refusalOf(error, c.req.path, options.runtime), dialectOf(c), options.runtime);
  });
  return app;
}

/** Replies of Hono's own making; what has a caller (`serve`), and every refusal, carries its id already. */
const OWN_PATHS = ['/v1/usage/record', '/top-up/*', '/webhooks/*', '/admin/*', '/healthz', '/readyz'];

const withRequestId =
  (runtime: Runtime): MiddlewareHandler =>
  async (c, next) => {
    await next();
    if (!c.res.headers.has('x-request-id')) c.header('x-request-id', `req_${runtime.id()}`);
  };

/** Responses that a provider keeps, for the customer who made them. */
function addStored(app: Hono, { serve, stored }: AppOptions): void {
  app.get('/v1/responses/:id', (c) =>
    serve(c, (caller) => stored({ kind: 'retrieve', id: c.req.param('id') }, caller)),
  );
  app.delete('/v1/responses/:id', (c) =>
    serve(c, (caller) => stored({ kind: 'delete', id: c.req.param('id') }, caller)),
  );
  app.post('/v1/responses/:id/cancel', (c) =>
    serve(c, (caller) => stored({ kind: 'cancel', id: c.req.param('id') }, caller)),
  );
  app.get('/v1/responses/:id/input_items', (c) =>
    serve(c, (caller) => stored({ kind: 'input_items', id: c.req.param('id') }, caller)),
  );
}

const notFound = (method: string, path: string): Refusal =>
  new Refusal('not_found', `There is no ${method} ${path} here. No provider was asked.`);

/** The dialect a path speaks, also where there is no such path; where several might, whose client has asked. */
const dialectOf = ({ req }: Context): Dialect => {
  if (req.path.startsWith('/v1/messages')) return 'anthropic';
  if (req.path.startsWith('/v1beta/') || /^\/v1\/models\/[^/]+:/.test(req.path)) return 'gemini';
  if (req.header('x-goog-api-key') !== undefined) return 'gemini';
  return req.header('anthropic-version') === undefined ? 'openai' : 'anthropic';
};

function refusalResponse(refusal: Refusal, dialect: Dialect, runtime: Runtime): Response {
  const { status, headers, body } = refusalReply(refusal, dialect, `req_${runtime.id()}`);
  return new Response(body, { status, headers });
}

/** What is answered for anything thrown where there is no call. */
export function refusalOf(error: unknown, path: string, { log }: Pick<Runtime, 'log'>): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof LedgerUnavailable) {
    log('error', 'ledger_unavailable', { path, error: String(error.cause ?? error) });
    return new Refusal('ledger_unavailable', 'The ledger could not be reached. Try again shortly.');
  }
  log('error', 'internal_error', { path, error: error instanceof Error ? error.stack : String(error) });
  return new Refusal('internal_error', 'The gateway failed.');
}

/** Answers a refusal thrown by work that has a caller but is no inference. */
async function refusing(caller: Caller, options: AppOptions, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const refusal = refusalOf(error, caller.path, options.runtime);
    const reply = refusalReply(refusal, modelsDialect(caller), `req_${options.runtime.id()}`);
    caller.reply.head(reply.status, reply.headers);
    caller.reply.write(new TextEncoder().encode(reply.body));
    caller.reply.end();
  }
}
