/**
 * OpenAI's dialect as a provider: what OpenAI and everyone compatible share. The same bytes both ways; what differs by
 * endpoint is the path, how the reply's usage is read, and whether usage must be asked for.
 */
import { memberValue } from '../src/usage/json-scanner.ts';
import { tokensOfQuarters } from '../src/usage/text-estimate.ts';
import { chatBody, embeddingsBody } from './openai-chat/body.ts';
import { listModels, modelIds } from './openai-chat/models.ts';
import { MEDIA_ROUTES, type MediaRoute } from './openai-media/routes.ts';
import { chatSplices } from './openai-chat/request.ts';
import { ChatStreamRules } from './openai-chat/stream-rules.ts';
import { messagesQuarters, promptQuarters, toolsQuarters } from './openai-chat/text.ts';
import { responsesBody } from './openai-responses/body.ts';
import { ResponsesStreamRules } from './openai-responses/stream-rules.ts';
import { askStored } from './openai-responses/stored.ts';
import { responsesInputQuarters } from './openai-responses/text.ts';
import { EventReader, type StreamRules } from './passage/event-reader.ts';
import { isSuccess, JsonReader, type BodyRules } from './passage/json-reader.ts';
import {
  formBody,
  isEventStream,
  leastTokens,
  modelSplice,
  splicedBody,
  upstreamHeaders,
} from './passage/request.ts';
import type { Endpoint, Exchange, Provider, ProviderCall, Upstream } from './provider.ts';

interface EndpointRules {
  /** After the base URL. */
  readonly path: string;
  /** Whether a stream tells its usage only when `stream_options.include_usage` asks for it. */
  readonly asksUsage: boolean;
  readonly body: BodyRules;
  readonly streamRules: (withholdsUsage: boolean) => StreamRules;
  /** `frame`: what frames a message, unless it is to be left out. */
  readonly inputQuarters: (call: ProviderCall, frame?: number) => number;
}

const member = (call: ProviderCall, key: string): unknown => memberValue(call.body, call.scan, key);

const chat: EndpointRules = {
  path: '/chat/completions',
  asksUsage: true,
  body: chatBody,
  streamRules: (withholdsUsage) => new ChatStreamRules(withholdsUsage),
  inputQuarters: (call, frame) =>
    messagesQuarters(member(call, 'messages'), frame) +
    toolsQuarters(member(call, 'tools')) +
    toolsQuarters(member(call, 'functions')),
};
const embeddings: EndpointRules = {
  ...chat,
  path: '/embeddings',
  asksUsage: false,
  body: embeddingsBody,
  inputQuarters: (call) => promptQuarters(member(call, 'input')),
};
const responses: EndpointRules = {
  path: '/responses',
  asksUsage: false,
  body: responsesBody,
  streamRules: () => new ResponsesStreamRules(),
  inputQuarters: (call, frame) =>
    responsesInputQuarters(member(call, 'instructions'), member(call, 'input'), frame) +
    toolsQuarters(member(call, 'tools')),
};

const RULES: ReadonlyMap<Endpoint, EndpointRules> = new Map<Endpoint, EndpointRules>([
  ['chat.completions', chat],
  [
    'completions',
    {
      ...chat,
      path: '/completions',
      inputQuarters: (call) =>
        promptQuarters(member(call, 'prompt')) + promptQuarters(member(call, 'suffix')),
    },
  ],
  ['embeddings', embeddings],
  ['moderations', { ...embeddings, path: '/moderations' }],
  ['responses', responses],
  ['responses.compact', { ...responses, path: '/responses/compact' }],
  ['responses.input_tokens', { ...responses, path: '/responses/input_tokens' }],
]);

/** What sets a vendor of this dialect apart beside its address. */
export interface OpenaiShape {
  /** The header that carries the key: as a Bearer token, unless it is one of the vendor's own. */
  readonly keyHeader?: 'authorization' | 'api-key' | undefined;
  /** The endpoints it serves; all of the dialect unless given. */
  readonly endpoints?: readonly Endpoint[] | undefined;
  /** Where a conversation of another dialect is taken to, best first; chat completions unless given. */
  readonly conversational?: readonly Endpoint[] | undefined;
}

export function createOpenaiProvider(type: string, shape: OpenaiShape = {}): Provider {
  const credential = ({ apiKey }: Upstream): Record<string, string> => {
    if (apiKey === null) return {};
    return shape.keyHeader === 'api-key' ? { 'api-key': apiKey } : { authorization: `Bearer ${apiKey}` };
  };
  return {
    type,
    endpoints: shape.endpoints ?? [...RULES.keys(), ...MEDIA_ROUTES.keys()],
    conversational: shape.conversational ?? ['chat.completions'],
    prepare(call, upstream) {
      const media = MEDIA_ROUTES.get(call.endpoint);
      if (media !== undefined)
        return prepareMedia(call, media, { upstream, credential: credential(upstream) });
      const rules = rulesOf(call);
      const { splices, addedUsageOption, sendsUsageOption } = rules.asksUsage
        ? chatSplices(call, upstream.asksUsage)
        : { splices: modelSplice(call), addedUsageOption: false, sendsUsageOption: false };
      return {
        request: {
          method: 'POST',
          url: `${upstream.baseUrl}${rules.path}`,
          headers: upstreamHeaders(call, credential(upstream)),
          body: splicedBody(call, splices),
        },
        addedUsageOption,
        sendsUsageOption,
        read: (head) =>
          isSuccess(head.status) && isEventStream(head, call.stream)
            ? new EventReader(rules.streamRules(addedUsageOption))
            : new JsonReader(head, rules.body),
      };
    },
    askStored: (ask, upstream) => askStored(ask, upstream, credential(upstream)),
    listModels: (upstream) => listModels(upstream, credential(upstream)),
    modelIds,
    // Pictures and sound are counted by their vendors, in whatever unit: no tokens are made up for them.
    estimateInput: (call) => tokensOfQuarters(RULES.get(call.endpoint)?.inputQuarters(call) ?? 0),
    leastInput: (call) => leastTokens(RULES.get(call.endpoint)?.inputQuarters(call, 0) ?? 0),
  };
}

function prepareMedia(
  call: ProviderCall,
  media: MediaRoute,
  to: { readonly upstream: Upstream; readonly credential: Readonly<Record<string, string>> },
): Exchange {
  return {
    request: {
      method: 'POST',
      url: `${to.upstream.baseUrl}${media.path}`,
      headers: upstreamHeaders(call, to.credential),
      body: call.form === undefined ? splicedBody(call, modelSplice(call)) : formBody(call, call.form),
    },
    addedUsageOption: false,
    read: (head) => media.read(call, head),
  };
}

function rulesOf({ endpoint }: ProviderCall): EndpointRules {
  const rules = RULES.get(endpoint);
  if (rules === undefined) throw new Error(`OpenAI's dialect has no endpoint ${endpoint}`);
  return rules;
}
