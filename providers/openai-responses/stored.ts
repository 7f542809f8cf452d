/** Responses that the provider keeps: read, cancelled, deleted, and what was put into them listed. None of it costs anything. */
import { EventReader } from '../passage/event-reader.ts';
import { isSuccess, JsonReader } from '../passage/json-reader.ts';
import { isEventStream, upstreamHeaders } from '../passage/request.ts';
import type { Exchange, StoredAsk, Upstream } from '../provider.ts';
import { responsesBody } from './body.ts';
import { ResponsesStreamRules } from './stream-rules.ts';

const SHAPES = {
  retrieve: { method: 'GET', suffix: '' },
  delete: { method: 'DELETE', suffix: '' },
  cancel: { method: 'POST', suffix: '/cancel' },
  input_items: { method: 'GET', suffix: '/input_items' },
} as const satisfies Record<StoredAsk['kind'], object>;

/** The parameters that the vendor documents; others, a credential among them, do not travel. */
const PARAMETERS = new Set([
  'include',
  'include[]',
  'stream',
  'starting_after',
  'include_obfuscation',
  'after',
  'before',
  'limit',
  'order',
]);

export function askStored(
  ask: StoredAsk,
  upstream: Upstream,
  credential: Readonly<Record<string, string>>,
): Exchange {
  const { method, suffix } = SHAPES[ask.kind];
  const query = queryOf(ask.query);
  const headers = upstreamHeaders({ headers: ask.headers }, credential);
  delete headers['content-type'];
  const streams = ask.kind === 'retrieve' && /(?:^|&)stream=true(?:&|$)/i.test(query);
  return {
    request: {
      method,
      url: `${upstream.baseUrl}/responses/${encodeURIComponent(ask.id)}${suffix}${query === '' ? '' : `?${query}`}`,
      headers,
      body: null,
    },
    addedUsageOption: false,
    read: (head) =>
      isSuccess(head.status) && isEventStream(head, streams)
        ? new EventReader(new ResponsesStreamRules())
        : new JsonReader(head, responsesBody),
  };
}

const queryOf = (query: string): string =>
  new URLSearchParams([...new URLSearchParams(query)].filter(([name]) => PARAMETERS.has(name))).toString();
