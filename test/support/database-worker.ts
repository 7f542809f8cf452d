/** A Durable Object that runs the batches it is sent over HTTP, for the contract tests of its Database port. */
import { DurableObject, type DurableObjectNamespace } from 'cloudflare:workers';
import { LedgerUnavailable, type Statement } from '../../src/ledger/ledger.ts';
import { createDurableDatabase } from '../../src/platform/durable-sqlite.ts';

interface Env {
  readonly OBJECTS: DurableObjectNamespace<{ fetch(request: Request): Promise<Response> }>;
}

export default {
  fetch(request: Request, env: Env): Promise<Response> {
    const name = new URL(request.url).pathname;
    return env.OBJECTS.get(env.OBJECTS.idFromName(name)).fetch(request);
  },
};

export class DatabaseObject extends DurableObject<Env> {
  async fetch(request: Request): Promise<Response> {
    const statements = (await request.json()) as readonly Statement[];
    try {
      return Response.json(await createDurableDatabase(this.ctx.storage).batch(statements));
    } catch (error) {
      if (!(error instanceof LedgerUnavailable)) throw error;
      return Response.json({ message: error.message, cause: String(error.cause) }, { status: 503 });
    }
  }
}
