/**
 * Usage of Anthropic's Messages API, brought to disjoint classes. Cache reads and writes lie beside `input_tokens`,
 * thinking inside `output_tokens`. A reply that ran several passes (compaction, an advisor, a fallback to another model)
 * lists them in `iterations`, and the counts at the top leave some of them out: then the passes are what is owed.
 */
import { isRecord, listOf, textOf } from '../../src/usage/json-value.ts';
import {
  addCounts,
  inputTokens,
  outputTokens,
  ZERO_TOKENS,
  type Units,
  type UsageLine,
} from '../../src/usage/usage.ts';
import { countOf } from '../passage/counts.ts';

export type MessagesUsage =
  | { readonly kind: 'lines'; readonly lines: readonly UsageLine[]; readonly reason?: string | undefined }
  /** The report cannot be believed: the reply counts as one without usage. */
  | { readonly kind: 'refused'; readonly reason: string };

type Fields = Readonly<Record<string, unknown>>;

/** Reads a usage with all its fields merged. `servedModel` is the reply's own, for passes that name none. */
export function readMessagesUsage(usage: Fields, servedModel: string | null): MessagesUsage {
  const doubts: string[] = [];
  const top = readLine(usage, servedModel, doubts);
  if (typeof top === 'string') return { kind: 'refused', reason: top };
  const passes = readPasses(usage, servedModel, doubts);
  const counted = isWhole(passes, top, doubts) ? withThinking(passes, top) : [top];
  const lines = withTools(counted, toolUnits(usage['server_tool_use']));
  return { kind: 'lines', lines, reason: doubts.length === 0 ? undefined : doubts.join('; ') };
}

/** A text is the reason for refusal. */
function readLine(usage: Fields, servedModel: string | null, doubts: string[]): UsageLine | string {
  const input = countOf(usage['input_tokens']);
  const output = countOf(usage['output_tokens']);
  if (input === 'malformed') return 'input_tokens is not a token count';
  if (output === 'malformed') return 'output_tokens is not a token count';
  if (input === undefined || output === undefined) {
    return `usage has no ${input === undefined ? 'input_tokens' : 'output_tokens'}`;
  }
  const detail = (name: string, value: unknown): number => {
    const count = countOf(value);
    if (count === 'malformed') doubts.push(`${name} is not a token count`);
    return typeof count === 'number' ? count : 0;
  };
  const byLife = isRecord(usage['cache_creation']) ? usage['cache_creation'] : {};
  const hour = detail('ephemeral_1h_input_tokens', byLife['ephemeral_1h_input_tokens']);
  const minutes = detail('ephemeral_5m_input_tokens', byLife['ephemeral_5m_input_tokens']);
  const written = detail(
    'cache_creation_input_tokens',
    usage['cache_creation_input_tokens'] ?? hour + minutes,
  );
  // A later report may override the sum and not its parts: the sum stands.
  const cacheWrite1h = Math.min(hour, written);
  const details = isRecord(usage['output_tokens_details']) ? usage['output_tokens_details'] : {};
  const reasoning = Math.min(detail('thinking_tokens', details['thinking_tokens']), output);
  return {
    ...ZERO_TOKENS,
    servedModel,
    uncachedInput: input,
    cacheRead: detail('cache_read_input_tokens', usage['cache_read_input_tokens']),
    cacheWrite: written - cacheWrite1h,
    cacheWrite1h,
    textOutput: output - reasoning,
    reasoning,
  };
}

function readPasses(usage: Fields, servedModel: string | null, doubts: string[]): readonly UsageLine[] {
  const passes: UsageLine[] = [];
  for (const pass of listOf(usage['iterations'])) {
    const line = isRecord(pass)
      ? readLine(pass, textOf(pass['model']) ?? servedModel, doubts)
      : 'a pass is not an object';
    if (typeof line === 'string') {
      doubts.push(`iterations: ${line}`);
      return [];
    }
    passes.push(line);
  }
  return passes;
}

/** Whether the passes account for at least what the top does. */
function isWhole(passes: readonly UsageLine[], top: UsageLine, doubts: string[]): boolean {
  if (passes.length === 0) return false;
  const sum = passes.reduce((counts, pass) => addCounts(counts, pass), ZERO_TOKENS);
  if (inputTokens(sum) >= inputTokens(top) && outputTokens(sum) >= outputTokens(top)) return true;
  doubts.push('the iterations come to less than the usage they are part of');
  return false;
}

/** Thinking is told for the whole reply: it goes to the passes of the reply's own model, in order, as far as they reach. */
function withThinking(passes: readonly UsageLine[], top: UsageLine): readonly UsageLine[] {
  let left = top.reasoning - passes.reduce((sum, pass) => sum + pass.reasoning, 0);
  return passes.map((pass) => {
    if (left <= 0 || pass.servedModel !== top.servedModel) return pass;
    const thought = Math.min(left, pass.textOutput);
    left -= thought;
    return { ...pass, textOutput: pass.textOutput - thought, reasoning: pass.reasoning + thought };
  });
}

/** Uses of the vendor's own tools, told once for the whole reply. */
function toolUnits(uses: unknown): Units | undefined {
  if (!isRecord(uses)) return undefined;
  const counts = {
    web_searches: countOf(uses['web_search_requests']),
    web_fetches: countOf(uses['web_fetch_requests']),
  };
  const told = Object.entries(counts).filter(([, count]) => typeof count === 'number' && count > 0);
  return told.length === 0 ? undefined : (Object.fromEntries(told) as Units);
}

/** They go with the first pass, which is the reply's own model's. */
const withTools = (lines: readonly UsageLine[], units: Units | undefined): readonly UsageLine[] =>
  units === undefined ? lines : lines.map((line, index) => (index === 0 ? { ...line, units } : line));
