/** The response object, which the whole reply is and every stream tells at its beginning and repeats at its end. */
import { openaiTier } from '../chat/usage-writer.ts';
import type { Composition } from '../composition.ts';
import { errorNames } from '../reply-error.ts';
import type { ReplyContext, ReplyError } from '../reply.ts';
import { outputItems } from './items.ts';
import { incompleteReason } from './stop.ts';
import { responsesUsage } from './usage-writer.ts';

type Json = Readonly<Record<string, unknown>>;

/** This dialect has one choice; who asks for more is refused before. */
export const ONLY = 0;

/** Members that repeat the request's, with what they are where it has none. */
const ECHOED: Json = {
  instructions: null,
  max_output_tokens: null,
  max_tool_calls: null,
  metadata: {},
  parallel_tool_calls: true,
  previous_response_id: null,
  prompt_cache_key: null,
  reasoning: { effort: null, summary: null },
  safety_identifier: null,
  temperature: 1,
  text: { format: { type: 'text' } },
  tool_choice: 'auto',
  tools: [],
  top_logprobs: 0,
  top_p: 1,
  truncation: 'disabled',
  user: null,
};

/** A response that has just begun. */
export const begunResponse = (reply: Composition, context: ReplyContext): Json => ({
  ...head(reply, context),
  status: 'in_progress',
  error: null,
  incomplete_details: null,
  output: [],
  usage: null,
});

/** A response that came to its end. */
export function endedResponse(reply: Composition, context: ReplyContext): Json {
  const incomplete = incompleteOf(reply);
  return {
    ...head(reply, context),
    status: incomplete === undefined ? 'completed' : 'incomplete',
    error: null,
    incomplete_details: incomplete === undefined ? null : { reason: incomplete },
    output: output(reply, context),
    usage: reply.usage === undefined ? null : responsesUsage(reply.usage),
  };
}

/** A response that failed, with what it had said by then. */
export const failedResponse = (reply: Composition, context: ReplyContext, error: ReplyError): Json => ({
  ...head(reply, context),
  status: 'failed',
  error: { code: errorCode(error), message: error.message },
  incomplete_details: null,
  output: outputItems(reply.choice(ONLY).parts, context.callId, 'incomplete'),
  usage: reply.usage === undefined ? null : responsesUsage(reply.usage),
});

/** Why the reply is incomplete; undefined when it is not. */
export function incompleteOf(reply: Composition): string | undefined {
  const { parts, stop } = reply.choice(ONLY);
  const refused = parts.some((part) => part.kind === 'refusal');
  return incompleteReason(stop?.reason ?? 'end', refused);
}

/** The words that the SDK knows for a failed response. */
export function errorCode(error: ReplyError): string {
  if (error.code !== undefined && /[a-z]/iu.test(error.code)) return error.code;
  const { openai } = errorNames(error);
  if (openai === 'rate_limit_error') return 'rate_limit_exceeded';
  return openai === 'invalid_request_error' ? 'invalid_prompt' : 'server_error';
}

const output = (reply: Composition, { callId }: ReplyContext): readonly Json[] =>
  outputItems(
    reply.choice(ONLY).parts,
    callId,
    incompleteOf(reply) === undefined ? 'completed' : 'incomplete',
  );

function head(reply: Composition, { callId, echo }: ReplyContext): Json {
  const told = Object.keys(ECHOED).filter((name) => (echo[name] ?? null) !== null);
  return {
    id: `resp_${callId}`,
    object: 'response',
    created_at: reply.createdS,
    model: reply.model,
    ...ECHOED,
    ...Object.fromEntries(told.map((name) => [name, echo[name]])),
    background: false,
    service_tier: openaiTier(reply.serviceTier) ?? 'default',
    // Nobody keeps it: a translated response cannot be read again by its id.
    store: false,
  };
}
