/** The upstream's list of models. */
import { isRecord, listOf, parseJson, textOf } from '../../src/usage/json-value.ts';
import type { Upstream, UpstreamRequest } from '../provider.ts';

export function listModels(
  upstream: Upstream,
  credential: Readonly<Record<string, string>>,
): UpstreamRequest {
  const headers = { accept: 'application/json', 'accept-encoding': 'identity', ...credential };
  return { method: 'GET', url: `${upstream.baseUrl}/models`, headers, body: null };
}

/** The ids of OpenAI's `{"data":[{"id"}]}`, or of the bare list that Together answers; undefined for anything else. */
export function modelIds(body: string): readonly string[] | undefined {
  const parsed = parseJson(body);
  const data = isRecord(parsed) ? parsed['data'] : parsed;
  if (!Array.isArray(data)) return undefined;
  return listOf(data)
    .map((model) => (isRecord(model) ? textOf(model['id']) : undefined))
    .filter((id) => id !== undefined);
}
