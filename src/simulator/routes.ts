/** What a route is, and how one is found. */
import type { Account } from './world.ts';

export interface RouteCall {
  readonly account: Account;
  /** The path's `:id`; empty where the path has none. */
  readonly id: string;
  readonly query: unknown;
  readonly body: unknown;
}

/** Method, path, and the function whose answer is the 200 body. It throws `StripeFailure` for anything else. */
export type Route = readonly [method: string, path: string, answer: (call: RouteCall) => unknown];

export interface FoundRoute {
  readonly id: string;
  readonly answer: (call: RouteCall) => unknown;
}

/** Compiles the table once. An earlier row wins. */
export function createRouter(
  routes: readonly Route[],
): (method: string, path: string) => FoundRoute | undefined {
  const compiled = routes.map(([method, path, answer]) => ({
    method,
    answer,
    pattern: new RegExp(`^${path.replace(':id', '(?<id>[^/]+)')}$`),
  }));
  return (method, path) => {
    for (const route of compiled) {
      if (route.method !== method) continue;
      const match = route.pattern.exec(path);
      if (match !== null) return { id: decodeId(match.groups?.['id'] ?? ''), answer: route.answer };
    }
    return undefined;
  };
}

function decodeId(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A broken escape names no object, so it is looked up as it stands and found missing.
    return text;
  }
}
