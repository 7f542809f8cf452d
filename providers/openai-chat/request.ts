/** The request to a chat completions upstream: the caller's own body but for `model` and `stream_options`. */
import { memberValue } from '../../src/usage/json-scanner.ts';
import { isRecord } from '../../src/usage/json-value.ts';
import { modelSplice } from '../passage/request.ts';
import type { Splice } from '../passage/splice.ts';
import type { ProviderCall } from '../provider.ts';

export interface ChatSplices {
  readonly splices: readonly Splice[];
  /** The gateway asks for usage that the caller did not ask for. */
  readonly addedUsageOption: boolean;
  /** Usage is asked for, by whomever. */
  readonly sendsUsageOption: boolean;
}

/** What to change in the body, and whether usage is asked for. */
export function chatSplices(call: ProviderCall, asksUsage: boolean): ChatSplices {
  const { splices = [], added = false, sends = added } = call.stream ? streamOptions(call, asksUsage) : {};
  return { splices: [...modelSplice(call), ...splices], addedUsageOption: added, sendsUsageOption: sends };
}

interface StreamOptions {
  readonly splices?: readonly Splice[];
  readonly added?: boolean;
  readonly sends?: boolean;
}

/**
 * What becomes of `stream_options`. Where an upstream may not be asked for usage, what the caller says of it is left out: the
 * upstream tells its usage unasked, or refuses the call for it.
 * The caller's object is always written anew: of a key given twice in it, what was read is then what is sent. The option
 * comes last, so that it also wins with decoders that ignore case.
 */
function streamOptions(call: ProviderCall, asksUsage: boolean): StreamOptions {
  const given = memberValue(call.body, call.scan, 'stream_options') ?? {};
  if (!isRecord(given)) return {};
  const { include_usage: asked, ...rest } = given;
  const open = asked === undefined || asked === null || asked === false;
  if (open && asksUsage) return { splices: written({ ...rest, include_usage: true }), added: true };
  if (!call.scan.members.has('stream_options')) return {};
  if (!asksUsage && (asked === true || (open && asked !== undefined))) {
    const isBare = Object.keys(rest).length === 0;
    return { splices: isBare ? [{ key: 'stream_options', json: undefined }] : written(rest) };
  }
  return {
    splices: written(asked === undefined ? rest : { ...rest, include_usage: asked }),
    sends: asked === true,
  };
}

const written = (options: object): readonly Splice[] => [
  { key: 'stream_options', json: JSON.stringify(options) },
];
