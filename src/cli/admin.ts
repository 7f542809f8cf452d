/**
 * How commands reach the ledger: one process writes a SQLite file, so a running gateway is asked over HTTP, with the
 * token it left beside the file; only when none runs is the file opened here, behind the same routes.
 */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import type { Settings } from '../config.ts';
import { CommandFailure, EXIT, readFile } from './command.ts';

/** `path` begins after `/admin/v1`. */
export type AdminFetch = (path: string, init?: RequestInit) => Promise<Response>;

export interface Admin {
  readonly fetch: AdminFetch;
  close(): Promise<void>;
}

/** A gateway on this machine answers in milliseconds unless it is stuck. */
const PROBE_TIMEOUT_MS = 2000;
const REQUEST_TIMEOUT_MS = 30_000;

const controlSchema = z.object({ url: z.string(), token: z.string(), pid: z.int() });
type Control = z.output<typeof controlSchema>;

/**
 * The sandbox's ledger stands beside the real one and is never the same file: what a gateway still owes Stripe must not
 * go to a simulator.
 */
export const sandboxLedger = (path: string): string => path.replace(/(?:\.db)?$/, '.sandbox.db');

/** The ledger of a running gateway, else of a running sandbox; else the file that is there, the real one first. */
export async function openAdmin(settings: Settings): Promise<Admin> {
  if (settings.database.kind !== 'sqlite') {
    throw new CommandFailure(EXIT.configuration, 'Only sqlite: ledgers are served by this version.');
  }
  const { path } = settings.database;
  const sandbox = sandboxLedger(path);
  for (const ledger of [path, sandbox]) {
    const control = readControl(ledger);
    if (control === undefined || !(await answers(control))) continue;
    // What is meant for the real one (an import, a key for a customer) would be done, and have no effect there.
    if (ledger === sandbox && existsSync(path))
      process.stderr.write(`note: this is about the sandbox that runs here; no gateway runs on ${path}\n`);
    return remoteAdmin(control);
  }
  const { openLocalAdmin } = await import('./local-admin.ts');
  return openLocalAdmin(settings, existsSync(path) || !existsSync(sandbox) ? path : sandbox);
}

function readControl(ledger: string): Control | undefined {
  const path = `${ledger}.control.json`;
  try {
    const text = readFile(path);
    return text === undefined ? undefined : controlSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new CommandFailure(
      EXIT.problem,
      `Cannot read ${path}, where a running gateway says how to reach it: ${String(error)}. Run as the gateway's user, or remove the file if no gateway runs.`,
    );
  }
}

/** Whether a gateway is there. A file left by a killed one is no gateway; one that runs but is silent is a failure. */
async function answers({ url, token, pid }: Control): Promise<boolean> {
  const probe = (path: string, headers = {}): Promise<Response> =>
    fetch(`${url}${path}`, { headers, signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
  try {
    if (!(await probe('/healthz')).ok) return false;
    if (isAlive(pid)) return true;
    // Out of another container's view, or killed, and its address taken by another gateway: that one knows no such token.
    return (await probe('/admin/v1/webhooks?limit=1', { authorization: `Bearer ${token}` })).status !== 401;
  } catch (error) {
    if (!isAlive(pid) || isRefused(error)) return false;
    throw new CommandFailure(
      EXIT.network,
      `The gateway (process ${String(pid)}) does not answer at ${url}. It holds the database, so this command cannot go on; look at its log.`,
    );
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, and belongs to another user.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

export const isRefused = (error: unknown): boolean =>
  error instanceof Error &&
  error.cause instanceof Error &&
  'code' in error.cause &&
  error.cause.code === 'ECONNREFUSED';

function remoteAdmin({ url, token }: Control): Admin {
  return {
    fetch: (path, init) =>
      fetch(`${url}/admin/v1${path}`, {
        ...init,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        signal: init?.signal ?? AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      }),
    close: async () => undefined,
  };
}

/** Opens, works and closes, whatever happens. */
export async function withAdmin<T>(settings: Settings, work: (admin: AdminFetch) => Promise<T>): Promise<T> {
  const admin = await openAdmin(settings);
  try {
    return await work(admin.fetch);
  } finally {
    await admin.close();
  }
}

const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/** The reply's JSON, as the schema knows it. Throws `CommandFailure` with the gateway's own message otherwise. */
export async function ask<T>(
  admin: AdminFetch,
  request: { readonly path: string; readonly method?: string; readonly body?: unknown },
  schema: z.ZodType<T>,
): Promise<T> {
  const { path, method = 'GET', body } = request;
  const init = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  let response: Response;
  try {
    response = await admin(path, init);
  } catch (error) {
    throw new CommandFailure(EXIT.network, `The gateway did not answer ${method} ${path}: ${String(error)}`);
  }
  const text = await response.text();
  if (response.ok) return schema.parse(JSON.parse(text));
  throw new CommandFailure(
    exitCodeOf(response.status),
    errorMessage(text) ?? `${method} ${path} was answered ${String(response.status)}`,
  );
}

function exitCodeOf(status: number): number {
  if (status === 400) return EXIT.usage;
  return status === 401 || status === 403 || status >= 500 ? EXIT.network : EXIT.problem;
}

function errorMessage(text: string): string | undefined {
  try {
    return errorSchema.safeParse(JSON.parse(text)).data?.error.message;
  } catch (error) {
    return error instanceof SyntaxError ? undefined : String(error);
  }
}

/** Query text of what was given; empty when nothing was. */
export function query(parts: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(parts).filter((part): part is [string, string] => part[1] !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}
