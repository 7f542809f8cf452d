/** `GET /v1/models` and `/v1beta/models`: what a caller may name, in the dialect he speaks. Bills nothing. */
import { type Dialect, Refusal, requestIdHeaders } from '../errors.ts';
import type { Keys } from '../keys/keys.ts';
import type { Runtime } from '../runtime.ts';
import { authenticate } from './authenticate.ts';
import { readRequestHeaders } from './headers.ts';
import type { Caller, Relay } from './ports.ts';
import type { Resolver, Route } from './resolve.ts';

export interface ModelsOptions {
  readonly keys: Keys;
  readonly resolver: Resolver;
  readonly relay: Relay;
  readonly runtime: Runtime;
  /** Models the price catalogue knows of a provider: listed when the upstream gives no list of its own. */
  readonly catalogue: (providerType: string) => readonly string[];
}

interface Model {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
}

/** An upstream's list is asked for again after this long, in milliseconds; a failure is remembered for a tenth of it. */
const LIST_KEPT_MS = 300_000;
/** An upstream that has not given its list by then is listed by what is known of it, in milliseconds: a caller waits. */
const LIST_TIMEOUT_MS = 3_000;
/** A list larger than this is not read: 4 MiB holds some ten thousand models. */
const LIST_BYTES_MAX = 4 * 1024 * 1024;

export type Models = (caller: Caller, wanted?: string) => Promise<void>;

/**
 * Answers the list of aliases and of every provider's models as `provider/model`, or one of them.
 *
 * @throws {Refusal} 401 without a valid key, 404 for a model that is not in the list.
 */
export function createModels(options: ModelsOptions): Models {
  const kept = new Map<string, KeptList>();

  const idsOf = async (route: Route): Promise<readonly string[]> => {
    const { name, type } = route.upstream;
    const now = options.runtime.now();
    let list = kept.get(name);
    if (list === undefined || list.untilMs <= now) {
      list = { untilMs: now + LIST_KEPT_MS, ids: upstreamIds(options, route), last: list?.last };
      kept.set(name, list);
    }
    const ids = await list.ids;
    if (ids === undefined) list.untilMs = Math.min(list.untilMs, now + LIST_KEPT_MS / 10);
    else list.last = ids;
    return list.last ?? options.catalogue(type);
  };

  return async (caller, wanted) => {
    await authenticate(options.keys, readRequestHeaders(caller.headers));
    const models: Model[] = [...options.resolver.aliases.keys()].map((alias) => model(alias, 'faregate'));
    const routes = [...options.resolver.routes.values()];
    const lists = await Promise.all(routes.map(async (route) => ({ route, ids: await idsOf(route) })));
    for (const { route, ids } of lists) {
      for (const id of ids) models.push(model(`${route.upstream.name}/${id}`, route.upstream.name));
    }
    const dialect = modelsDialect(caller);
    const shape = SHAPES[dialect];
    if (wanted === undefined) return answer(caller, shape.list(models), options.runtime);
    const one =
      models.find(({ id }) => id === wanted) ??
      barely(wanted, { models, dialect, resolver: options.resolver });
    if (one !== undefined) return answer(caller, shape.one(one), options.runtime);
    throw new Refusal('model_not_found', `No model "${wanted}" is served here. GET /v1/models lists them.`, {
      param: 'model',
    });
  };
}

/** A model asked for without its provider, as calls may name it: found where such a call would go. */
function barely(
  wanted: string,
  { models, dialect, resolver }: { models: readonly Model[]; dialect: Dialect; resolver: Resolver },
): Model | undefined {
  try {
    const [target] = resolver.resolve(wanted, CALLS[dialect]);
    const listed = `${target?.route.upstream.name ?? ''}/${target?.upstreamModel ?? ''}`;
    const found = models.find(({ id }) => id === listed);
    return found === undefined ? undefined : { ...found, id: wanted };
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

const CALLS = {
  openai: 'chat.completions',
  anthropic: 'messages',
  gemini: 'generateContent',
} as const satisfies Record<Dialect, string>;

interface KeptList {
  untilMs: number;
  readonly ids: Promise<readonly string[] | undefined>;
  /** The last list that came. */
  last: readonly string[] | undefined;
}

const model = (id: string, owner: string): Model => ({ id, object: 'model', created: 0, owned_by: owner });

/** Three SDKs ask the same path: what they send tells them apart. */
export function modelsDialect(caller: Caller): Dialect {
  const names = new Set(caller.headers.filter((_value, index) => index % 2 === 0));
  if (caller.path.startsWith('/v1beta/') || names.has('x-goog-api-key')) return 'gemini';
  return names.has('anthropic-version') ? 'anthropic' : 'openai';
}

interface Shape {
  one(model: Model): object;
  list(models: readonly Model[]): object;
}

const anthropicModel = ({ id }: Model): object => ({
  type: 'model',
  id,
  display_name: id,
  created_at: '1970-01-01T00:00:00Z',
});
const geminiModel = ({ id }: Model): object => ({ name: `models/${id}`, displayName: id });

const SHAPES: Readonly<Record<Dialect, Shape>> = {
  openai: { one: (one) => one, list: (models) => ({ object: 'list', data: models }) },
  anthropic: {
    one: anthropicModel,
    list: (models) => ({
      data: models.map(anthropicModel),
      has_more: false,
      first_id: models.at(0)?.id ?? null,
      last_id: models.at(-1)?.id ?? null,
    }),
  },
  gemini: { one: geminiModel, list: (models) => ({ models: models.map(geminiModel) }) },
};

function answer(caller: Caller, body: unknown, runtime: Runtime): void {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  caller.reply.head(200, {
    'content-type': 'application/json',
    'content-length': String(bytes.length),
    ...requestIdHeaders(modelsDialect(caller), `req_${runtime.id()}`),
  });
  caller.reply.write(bytes);
  caller.reply.end();
}

/** The upstream's own list; undefined when it gives none. */
async function upstreamIds(
  { relay, runtime }: ModelsOptions,
  route: Route,
): Promise<readonly string[] | undefined> {
  const request = route.provider.listModels(route.upstream);
  let cancelTimeout: (() => void) | undefined;
  const text = await new Promise<string | undefined>((resolve) => {
    const decoder = new TextDecoder();
    let body = '';
    const flow = relay.send(
      request,
      {
        head: (status) => {
          if (status === 200) return;
          resolve(undefined);
          flow.abort();
        },
        chunk: (bytes) => {
          body += decoder.decode(bytes, { stream: true });
          if (body.length > LIST_BYTES_MAX) {
            resolve(undefined);
            flow.abort();
          }
          return true;
        },
        end: () => resolve(body),
        fail: () => resolve(undefined),
      },
      route.timeouts,
    );
    cancelTimeout = runtime.after(LIST_TIMEOUT_MS, () => {
      resolve(undefined);
      flow.abort();
    });
  });
  cancelTimeout?.();
  return text === undefined ? undefined : route.provider.modelIds(text);
}
