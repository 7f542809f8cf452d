/** Anthropic: the Messages API, same bytes both ways. */
import { memberValue } from '../src/usage/json-scanner.ts';
import { isRecord, listOf, parseJson, textOf } from '../src/usage/json-value.ts';
import { tokensOfQuarters } from '../src/usage/text-estimate.ts';
import { vendorName } from './anthropic-messages/model-name.ts';
import { MessagesReport } from './anthropic-messages/report.ts';
import { MessagesStreamRules } from './anthropic-messages/stream-rules.ts';
import { contentQuarters, messagesQuarters } from './anthropic-messages/text.ts';
import { toolsQuarters } from './openai-chat/text.ts';
import { carriesError } from './passage/counts.ts';
import { EventReader } from './passage/event-reader.ts';
import { isSuccess, JsonReader, type BodyRules } from './passage/json-reader.ts';
import { isEventStream, leastTokens, modelSplice, splicedBody, upstreamHeaders } from './passage/request.ts';
import type { Provider, ProviderCall, Upstream } from './provider.ts';

/** Sent for a caller who names none. A caller's own version and `anthropic-beta` go on byte for byte. */
const DEFAULT_VERSION = '2023-06-01';

export const anthropic: Provider = {
  type: 'anthropic',
  endpoints: ['messages', 'messages.count_tokens'],
  conversational: ['messages'],
  prepare(call, upstream) {
    const path = call.endpoint === 'messages' ? '/v1/messages' : '/v1/messages/count_tokens';
    return {
      request: {
        method: 'POST',
        url: `${base(upstream)}${path}${betaQuery(call.query)}`,
        headers: upstreamHeaders(call, {
          ...credential(upstream),
          'anthropic-version': call.headers['anthropic-version'] ?? DEFAULT_VERSION,
        }),
        body: splicedBody(call, modelSplice({ ...call, model: vendorName(call.model) })),
      },
      addedUsageOption: false,
      read: (head) =>
        isSuccess(head.status) && isEventStream(head, call.stream)
          ? new EventReader(new MessagesStreamRules())
          : new JsonReader(head, messageBody),
    };
  },
  listModels: (upstream) => ({
    method: 'GET',
    url: `${base(upstream)}/v1/models?limit=1000`,
    headers: {
      accept: 'application/json',
      'accept-encoding': 'identity',
      'anthropic-version': DEFAULT_VERSION,
      ...credential(upstream),
    },
    body: null,
  }),
  modelIds(body) {
    const parsed = parseJson(body);
    if (!isRecord(parsed) || !Array.isArray(parsed['data'])) return undefined;
    return listOf(parsed['data'])
      .map((model) => (isRecord(model) ? textOf(model['id']) : undefined))
      .filter((id) => id !== undefined);
  },
  estimateInput: (call) => tokensOfQuarters(inputQuarters(call)),
  leastInput: (call) => leastTokens(inputQuarters(call, 0)),
};

const inputQuarters = (call: ProviderCall, frame?: number): number =>
  contentQuarters(member(call, 'system')) +
  messagesQuarters(member(call, 'messages'), frame) +
  toolsQuarters(member(call, 'tools'));

const messageBody: BodyRules = {
  meter(body) {
    const report = new MessagesReport();
    report.takeMessage(body);
    if (body['type'] === 'error' || carriesError(body)) report.fail(body['error']);
    return report.metered(true, 'the message told no usage');
  },
  weigh(body, tally) {
    for (const block of listOf(body['content'])) tally.add(contentQuarters([block]));
  },
};

const member = (call: ProviderCall, key: string): unknown => memberValue(call.body, call.scan, key);

/** The vendor's SDKs take the address without a version; one that has it is understood as well. */
const base = (upstream: Upstream): string => upstream.baseUrl.replace(/\/v1$/, '');

const credential = ({ apiKey }: Upstream): Record<string, string> =>
  apiKey === null ? {} : { 'x-api-key': apiKey };

/** The one query parameter the vendor's SDK sends: it opens beta features of the body. */
const betaQuery = (query: string): string => (query.split('&').includes('beta=true') ? '?beta=true' : '');
