/** The one table of inference routes: what the gateway must know of each before it asks a provider. */
import type { Endpoint } from '../../providers/provider.ts';
import type { Dialect } from '../errors.ts';

export interface EndpointTraits {
  readonly dialect: Dialect;
  /** The path, or for a model in the path the word after its colon. */
  readonly path: string;
  /** False: it costs nothing and passes through without admission or settlement. */
  readonly metered: boolean;
  readonly modelFrom: 'body' | 'path';
  /** Whether the reply is a stream of events: as the body's `stream` or `stream_format` says, or as the route does. */
  readonly stream: 'body' | 'format' | 'always' | 'never';
  /** The body may also be a multipart form. */
  readonly takesForm?: true;
  /** The name in the configuration's `endpoints` that switches it. */
  readonly switchedBy: string;
  /** The model of a request that names none, where the vendor has a default. */
  readonly defaultModel?: string;
}

const inBody = { metered: true, modelFrom: 'body', stream: 'never' } as const;
const openai = { ...inBody, dialect: 'openai' } as const;
const anthropic = { ...inBody, dialect: 'anthropic' } as const;
const gemini = { dialect: 'gemini', metered: true, modelFrom: 'path', stream: 'never' } as const;

export const ENDPOINTS: Readonly<Record<Endpoint, EndpointTraits>> = {
  'chat.completions': {
    ...openai,
    path: '/v1/chat/completions',
    stream: 'body',
    switchedBy: 'chat.completions',
  },
  completions: { ...openai, path: '/v1/completions', stream: 'body', switchedBy: 'completions' },
  responses: { ...openai, path: '/v1/responses', stream: 'body', switchedBy: 'responses' },
  'responses.compact': { ...openai, path: '/v1/responses/compact', switchedBy: 'responses' },
  'responses.input_tokens': {
    ...openai,
    path: '/v1/responses/input_tokens',
    metered: false,
    switchedBy: 'responses',
  },
  embeddings: { ...openai, path: '/v1/embeddings', switchedBy: 'embeddings' },
  moderations: {
    ...openai,
    path: '/v1/moderations',
    metered: false,
    switchedBy: 'moderations',
    defaultModel: 'omni-moderation-latest',
  },
  'images.generations': {
    ...openai,
    path: '/v1/images/generations',
    stream: 'body',
    switchedBy: 'images.generations',
  },
  'images.edits': {
    ...openai,
    path: '/v1/images/edits',
    stream: 'body',
    takesForm: true,
    switchedBy: 'images.edits',
  },
  'audio.speech': { ...openai, path: '/v1/audio/speech', stream: 'format', switchedBy: 'audio.speech' },
  'audio.transcriptions': {
    ...openai,
    path: '/v1/audio/transcriptions',
    stream: 'body',
    takesForm: true,
    switchedBy: 'audio.transcriptions',
  },
  'audio.translations': {
    ...openai,
    path: '/v1/audio/translations',
    takesForm: true,
    switchedBy: 'audio.translations',
  },
  messages: { ...anthropic, path: '/v1/messages', stream: 'body', switchedBy: 'messages' },
  'messages.count_tokens': {
    ...anthropic,
    path: '/v1/messages/count_tokens',
    metered: false,
    switchedBy: 'messages',
  },
  generateContent: { ...gemini, path: 'generateContent', switchedBy: 'generateContent' },
  streamGenerateContent: {
    ...gemini,
    path: 'streamGenerateContent',
    stream: 'always',
    switchedBy: 'generateContent',
  },
  embedContent: { ...gemini, path: 'embedContent', switchedBy: 'embedContent' },
  batchEmbedContents: { ...gemini, path: 'batchEmbedContents', switchedBy: 'embedContent' },
  interactions: {
    ...gemini,
    path: '/:version/interactions',
    modelFrom: 'body',
    stream: 'body',
    switchedBy: 'generateContent',
  },
  countTokens: { ...gemini, path: 'countTokens', metered: false, switchedBy: 'generateContent' },
};

/** The vendor that a bare name falls to when the catalogue does not know it: the one whose dialect was spoken. */
export const DIALECT_VENDOR: Readonly<Record<Dialect, string>> = {
  openai: 'openai',
  anthropic: 'anthropic',
  gemini: 'google',
};

const isEndpoint = (name: string): name is Endpoint => name in ENDPOINTS;

/** What `:version` stands for in a path. Spelled out in routes: a pattern would cost every request the slowest router. */
export const VERSIONS = ['v1', 'v1beta'] as const;

const pathsOf = (path: string): readonly string[] =>
  path.startsWith('/:version/') ? VERSIONS.map((version) => path.replace(':version', version)) : [path];

/** The endpoints whose model is in the body, with their paths. */
export const BODY_ENDPOINTS: readonly { readonly endpoint: Endpoint; readonly path: string }[] =
  Object.entries(ENDPOINTS).flatMap(([endpoint, { path, modelFrom }]) =>
    modelFrom === 'body' && isEndpoint(endpoint)
      ? pathsOf(path).map((each) => ({ endpoint, path: each }))
      : [],
  );

/** Longer than any model's path; what is longer is no model. */
const MODEL_PATH_LENGTH_MAX = 1024;

/**
 * The endpoint and the model of a path such as `gemini-2.5-flash:generateContent`, what stands after `/models/`;
 * undefined for anything else.
 */
export function modelInPath(
  rest: string,
): { readonly endpoint: Endpoint; readonly pathModel: string } | undefined {
  const colon = rest.lastIndexOf(':');
  const method = rest.slice(colon + 1);
  if (colon < 1 || rest.length > MODEL_PATH_LENGTH_MAX || !isEndpoint(method)) return undefined;
  if (ENDPOINTS[method].modelFrom !== 'path') return undefined;
  return { endpoint: method, pathModel: rest.slice(0, colon) };
}

const ENDPOINT_AT = new Map(BODY_ENDPOINTS.map(({ path, endpoint }) => [path, { endpoint }]));
/** A model in a path as clients write it: nothing that a router would decode or normalise. */
const PLAIN_MODEL_PATH = /^\/v1(?:beta)?\/models\/([\w.-]+:\w+)$/;

/**
 * What a POST to a path asks for, read off the same table as the routes, for an entry that need not go through them;
 * undefined for a path that is no inference route, or not spelled plainly.
 */
export function askedAt(
  path: string,
): { readonly endpoint: Endpoint; readonly pathModel?: string } | undefined {
  const asked = ENDPOINT_AT.get(path);
  if (asked !== undefined) return asked;
  const model = PLAIN_MODEL_PATH.exec(path)?.[1];
  return model === undefined || model.includes('..') ? undefined : modelInPath(model);
}
