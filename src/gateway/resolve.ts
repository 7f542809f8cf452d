/** Step 2: which upstream serves the model that was asked for, and under which name it is billed. */
import type { Endpoint, Provider, Upstream } from '../../providers/provider.ts';
import { isTranslatable, translated } from '../../providers/translation/translated.ts';
import { Refusal } from '../errors.ts';
import { DIALECT_VENDOR, ENDPOINTS } from './endpoints.ts';
import type { Timeouts } from './ports.ts';

/** An upstream that can be asked: the configuration and the adapter that speaks its dialect. */
export interface Route {
  readonly upstream: Upstream;
  readonly provider: Provider;
  /** The endpoints the operator left open; undefined for all the adapter has. */
  readonly endpoints: readonly string[] | undefined;
  readonly timeouts: Timeouts;
}

export interface Target {
  readonly route: Route;
  /** The model as the upstream knows it. */
  readonly upstreamModel: string;
  /** The model as it is billed: the configured provider's name, a slash, and Stripe's name for it. */
  readonly billedModel: string;
}

export interface Resolver {
  /**
   * The upstreams to ask for `model`, in order: one at least.
   *
   * @throws {Refusal} 404 `model_not_found`.
   */
  resolve(model: string, endpoint: Endpoint): readonly Target[];
  readonly aliases: ReadonlyMap<string, readonly string[]>;
  readonly routes: ReadonlyMap<string, Route>;
}

export interface ResolverOptions {
  readonly routes: readonly Route[];
  /** Aliases and what they stand for, in order of preference. */
  readonly aliases: ReadonlyMap<string, readonly string[]>;
  /** The provider a bare model name belongs to, by the price catalogue. */
  readonly vendorOf: (model: string) => string | undefined;
  /** The name a model is billed under, after the provider's slash. */
  readonly billedName: (providerType: string, model: string) => string;
}

/** Callers choose model names, so the memory of what they resolve to is bounded. */
const RESOLVED_MAX = 1_000;

export function createResolver(options: ResolverOptions): Resolver {
  const routes = new Map(options.routes.map((route) => [route.upstream.name, route]));

  const target = (route: Route, model: string, asked: string, endpoint: Endpoint): Target => {
    const serving = routeFor(route, endpoint);
    if (serving === undefined) {
      throw new Refusal(
        'model_not_found',
        `The provider "${route.upstream.name}" does not serve ${endpoint}, asked for model "${asked}". Ask it in its own dialect, or name a model of another provider.`,
        { param: 'model' },
      );
    }
    const billedModel = `${route.upstream.name}/${options.billedName(route.upstream.type, model)}`;
    return { route: serving, upstreamModel: model, billedModel };
  };

  const one = (asked: string, endpoint: Endpoint): Target => {
    // Gemini's own list names its models `models/…`: no provider's prefix, unless one is configured under that name.
    const model = routes.has('models') ? asked : asked.replace(/^models\/(?=[^/]+$)/, '');
    const slash = model.indexOf('/');
    const prefixed = slash > 0 ? routes.get(model.slice(0, slash)) : undefined;
    if (prefixed !== undefined && slash + 1 < model.length) {
      return target(prefixed, model.slice(slash + 1), model, endpoint);
    }
    const bare =
      slash < 0 ? (vendorRoute(model) ?? routes.get(DIALECT_VENDOR[ENDPOINTS[endpoint].dialect])) : undefined;
    if (bare !== undefined) return target(bare, model, model, endpoint);
    throw new Refusal('model_not_found', notFound(model, slash, routes), { param: 'model' });
  };

  const vendorRoute = (model: string): Route | undefined => {
    const vendor = options.vendorOf(model);
    return vendor === undefined ? undefined : routes.get(vendor);
  };

  const resolved = new Map<string, readonly Target[]>();
  return {
    resolve(model, endpoint) {
      const asked = `${endpoint} ${model}`;
      const known = resolved.get(asked);
      if (known !== undefined) return known;
      const names = options.aliases.get(model) ?? [model];
      // Of several, those that cannot serve this endpoint are passed over; of one, or none that can, the first says why.
      const able = names.filter((name) => canServe(() => one(name, endpoint)));
      const targets = (able.length > 0 ? able : names).map((name) => one(name, endpoint));
      if (resolved.size >= RESOLVED_MAX) resolved.clear();
      resolved.set(asked, targets);
      return targets;
    },
    aliases: options.aliases,
    routes,
  };
}

function canServe(find: () => Target): boolean {
  try {
    find();
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/** The route as it serves the endpoint: in its own dialect, else translated into one it speaks; undefined for neither. */
function routeFor(route: Route, endpoint: Endpoint): Route | undefined {
  const { provider } = route;
  const serves = (one: Endpoint): boolean =>
    provider.endpoints.includes(one) && (route.endpoints?.includes(ENDPOINTS[one].switchedBy) ?? true);
  if (serves(endpoint)) return route;
  const others = isTranslatable(endpoint) ? provider.conversational.filter(serves) : [];
  return others.length === 0 ? undefined : { ...route, provider: translated(provider, endpoint, others) };
}

function notFound(model: string, slash: number, routes: ReadonlyMap<string, Route>): string {
  const known = [...routes.keys()].join(', ') || 'none';
  if (slash < 0)
    return `No configured provider serves the model "${model}". Configured: ${known}. Name one: provider/model.`;
  const prefix = model.slice(0, slash);
  return routes.has(prefix)
    ? `"${model}" names the provider and no model of it. Write ${prefix}/<model>.`
    : `"${prefix}" in the model "${model}" is neither a configured provider nor an alias. Configured: ${known}.`;
}
