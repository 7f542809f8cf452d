/** Google: the Gemini API, same bytes both ways, under the version the caller asked. */
import { memberValue } from '../src/usage/json-scanner.ts';
import { isRecord, listOf, parseJson, textOf } from '../src/usage/json-value.ts';
import { tokensOfQuarters } from '../src/usage/text-estimate.ts';
import { GeminiArrayReader } from './gemini/array-reader.ts';
import { interactionBody, InteractionStreamRules } from './gemini/interactions.ts';
import { GeminiReport } from './gemini/report.ts';
import { GeminiStreamRules } from './gemini/stream-rules.ts';
import { candidateQuarters, contentsQuarters } from './gemini/text.ts';
import { promptQuarters, toolsQuarters } from './openai-chat/text.ts';
import { EventReader } from './passage/event-reader.ts';
import { isSuccess, JsonReader, type BodyRules } from './passage/json-reader.ts';
import { isEventStream, leastTokens, modelSplice, splicedBody, upstreamHeaders } from './passage/request.ts';
import type { Splice } from './passage/splice.ts';
import type { Endpoint, Provider, ProviderCall, ResponseReader, Upstream, UpstreamHead } from './provider.ts';

/** What sets another place that serves Gemini apart. */
interface GoogleShape {
  /** What stands between the version and a model's name. Where it is not `models`, the version is always v1. */
  readonly modelsPath: string;
  readonly endpoints: readonly Endpoint[];
}

export const createGoogleProvider = (type: string, shape: GoogleShape): Provider => ({
  type,
  endpoints: shape.endpoints,
  conversational: ['generateContent'],
  prepare(call, upstream) {
    return {
      request: {
        method: 'POST',
        url: urlOf(call, upstream, shape.modelsPath),
        headers: upstreamHeaders(call, credential(upstream)),
        body: splicedBody(call, modelSplices(call)),
      },
      addedUsageOption: false,
      read: (head) =>
        call.endpoint === 'interactions' ? interactionReader(head, call.stream) : readerOf(head, call.stream),
    };
  },
  listModels: (upstream) => ({
    method: 'GET',
    url: `${base(upstream)}/v1beta/models?pageSize=1000`,
    headers: { accept: 'application/json', 'accept-encoding': 'identity', ...credential(upstream) },
    body: null,
  }),
  modelIds(body) {
    const parsed = parseJson(body);
    if (!isRecord(parsed) || !Array.isArray(parsed['models'])) return undefined;
    return listOf(parsed['models'])
      .map((model) => (isRecord(model) ? textOf(model['name']) : undefined))
      .filter((name) => name !== undefined)
      .map(plainName);
  },
  estimateInput: (call) => tokensOfQuarters(inputQuarters(call)),
  leastInput: (call) => leastTokens(inputQuarters(call, 0)),
});

export const google = createGoogleProvider('google', {
  modelsPath: 'models',
  endpoints: [
    'generateContent',
    'streamGenerateContent',
    'embedContent',
    'batchEmbedContents',
    'countTokens',
    'interactions',
  ],
});

function inputQuarters(call: ProviderCall, frame?: number): number {
  let quarters = toolsQuarters(member(call, 'tools')) + promptQuarters(member(call, 'input'));
  for (const key of ['contents', 'content', 'systemInstruction', 'system_instruction']) {
    quarters += contentsQuarters(member(call, key), frame);
  }
  for (const one of listOf(member(call, 'requests'))) {
    if (isRecord(one)) quarters += contentsQuarters(one['content'], frame);
  }
  return quarters;
}

/**
 * Of the caller's query only `alt=sse` travels: a `key` is a credential, and `fields` could leave the usage out of the
 * reply. The name is encoded as one segment, so no model leads to another path.
 */
function urlOf(call: ProviderCall, upstream: Upstream, modelsPath: string): string {
  const version = call.path.startsWith('/v1/') || modelsPath !== 'models' ? 'v1' : 'v1beta';
  const query = new URLSearchParams(call.query);
  const sse = call.stream && (query.get('alt') ?? query.get('$alt')) === 'sse' ? '?alt=sse' : '';
  if (call.endpoint === 'interactions') return `${base(upstream)}/${version}/interactions${sse}`;
  const model = encodeURIComponent(plainName(call.model));
  return `${base(upstream)}/${version}/${modelsPath}/${model}:${call.endpoint}${sse}`;
}

/** The vendor's SDKs take the address without a version; one that has it is understood as well. */
const base = (upstream: Upstream): string => upstream.baseUrl.replace(/\/v1(beta)?$/, '');

const credential = ({ apiKey }: Upstream): Record<string, string> =>
  apiKey === null ? {} : { 'x-goog-api-key': apiKey };

const plainName = (model: string): string => model.replace(/^models\//, '');

function readerOf(head: UpstreamHead, streams: boolean): ResponseReader {
  if (isSuccess(head.status) && isEventStream(head, streams)) return new EventReader(new GeminiStreamRules());
  return streams && isSuccess(head.status) ? new GeminiArrayReader() : new JsonReader(head, contentBody);
}

const interactionReader = (head: UpstreamHead, streams: boolean): ResponseReader =>
  isSuccess(head.status) && isEventStream(head, streams)
    ? new EventReader(new InteractionStreamRules())
    : new JsonReader(head, interactionBody);

const contentBody: BodyRules = {
  meter(body) {
    const report = new GeminiReport();
    report.take(body);
    return report.metered(true);
  },
  weigh(body, tally) {
    for (const candidate of listOf(body['candidates'])) {
      if (isRecord(candidate)) tally.add(candidateQuarters(candidate));
    }
  },
};

const member = (call: ProviderCall, key: string): unknown => memberValue(call.body, call.scan, key);

/** The model stands in the path. Where the body repeats it, the vendor wants the same: there it is replaced. */
function modelSplices(call: ProviderCall): readonly Splice[] {
  if (call.endpoint === 'interactions') return modelSplice(call);
  const name = `models/${plainName(call.model)}`;
  const isOther = (value: unknown): boolean =>
    isRecord(value) && value['model'] !== undefined && value['model'] !== name;
  const splices: Splice[] = [];
  const own = member(call, 'model');
  if (own !== undefined && own !== name) splices.push({ key: 'model', json: JSON.stringify(name) });
  const requests = call.endpoint === 'batchEmbedContents' ? listOf(member(call, 'requests')) : [];
  if (requests.some(isOther)) {
    const named = requests.map((one) => (isOther(one) ? Object.assign({}, one, { model: name }) : one));
    splices.push({ key: 'requests', json: JSON.stringify(named) });
  }
  const counted = call.endpoint === 'countTokens' ? member(call, 'generateContentRequest') : undefined;
  if (isRecord(counted) && isOther(counted)) {
    splices.push({ key: 'generateContentRequest', json: JSON.stringify({ ...counted, model: name }) });
  }
  return splices;
}
