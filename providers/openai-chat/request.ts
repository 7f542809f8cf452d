/** The request to a chat completions upstream: the caller's own body but for `model` and `stream_options`. */
import { memberText, memberValue } from '../../src/usage/json-scanner.ts';
import { isRecord } from '../../src/usage/json-value.ts';
import type { ProviderCall, Upstream, UpstreamRequest } from '../provider.ts';
import { spliceObject, type Splice } from './splice.ts';

export function chatRequest(
  call: ProviderCall,
  upstream: Upstream,
): { readonly request: UpstreamRequest; readonly addedUsageOption: boolean } {
  const splices: Splice[] = [];
  const model = call.scan.members.get('model');
  const json = JSON.stringify(call.model);
  if (model === undefined || memberText(call.body, model) !== json) splices.push({ key: 'model', json });
  const options = streamOptions(call, upstream.asksUsage);
  if (options.json !== undefined) splices.push({ key: 'stream_options', json: options.json });
  const body = splices.length === 0 ? [call.body] : spliceObject(call.body, call.scan, splices);
  return {
    request: {
      method: 'POST',
      url: `${upstream.baseUrl}/chat/completions`,
      headers: requestHeaders(call.headers, upstream.apiKey),
      body,
    },
    addedUsageOption: options.added,
  };
}

/**
 * The `stream_options` to send, undefined to leave the body's own, and whether the gateway asks what the caller did not.
 * The caller's object is always written anew: of a key given twice in it, what was read is then what is sent. The option
 * comes last, so that it also wins with decoders that ignore case.
 */
function streamOptions(call: ProviderCall, asksUsage: boolean): { json: string | undefined; added: boolean } {
  if (!call.stream) return { json: undefined, added: false };
  const given = memberValue(call.body, call.scan, 'stream_options') ?? {};
  if (!isRecord(given)) return { json: undefined, added: false };
  const { include_usage: asked, ...rest } = given;
  const open = asked === undefined || asked === null || asked === false;
  if (open && asksUsage) return { json: JSON.stringify({ ...rest, include_usage: true }), added: true };
  if (!call.scan.members.has('stream_options')) return { json: undefined, added: false };
  const same = asked === undefined ? rest : { ...rest, include_usage: asked };
  return { json: JSON.stringify(same), added: false };
}

/** Set by the relay, which knows the length and the host, or false once the body is spliced. */
const DROPPED = new Set([
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
  'cookie',
  'host',
  'content-length',
  'content-encoding',
  'transfer-encoding',
]);

function requestHeaders(
  callHeaders: Readonly<Record<string, string>>,
  apiKey: string | null,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(callHeaders)) if (!DROPPED.has(name)) headers[name] = value;
  headers['content-type'] = 'application/json';
  // An encoded reply could not be read on its way.
  headers['accept-encoding'] = 'identity';
  if (apiKey !== null) headers['authorization'] = `Bearer ${apiKey}`;
  return headers;
}
