/** The request to a chat completions upstream: the caller's own body but for `model` and `stream_options`. */
import { memberValue } from '../../src/usage/json-scanner.ts';
import { isRecord } from '../../src/usage/json-value.ts';
import { modelSplice } from '../passage/request.ts';
import type { Splice } from '../passage/splice.ts';
import type { ProviderCall } from '../provider.ts';

/** What to change in the body, and whether the gateway asks for usage that the caller did not. */
export function chatSplices(
  call: ProviderCall,
  asksUsage: boolean,
): { readonly splices: readonly Splice[]; readonly addedUsageOption: boolean } {
  const options = streamOptions(call, asksUsage);
  const added = options.json === undefined ? [] : [{ key: 'stream_options', json: options.json }];
  return { splices: [...modelSplice(call), ...added], addedUsageOption: options.added };
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
