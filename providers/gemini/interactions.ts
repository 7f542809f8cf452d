/**
 * Gemini's Interactions API: the same counts under other names, in a reply or in the event that ends a stream. That event
 * waits for the settlement.
 */
import { isRecord, listOf, parseJson } from '../../src/usage/json-value.ts';
import { sseData, type SseUnit } from '../../src/usage/sse-scanner.ts';
import { textQuarters } from '../../src/usage/text-estimate.ts';
import type { Metered } from '../../src/usage/usage.ts';
import { promptQuarters } from '../openai-chat/text.ts';
import type { Fate, StreamRules } from '../passage/event-reader.ts';
import { eventType } from '../passage/event-type.ts';
import { Evidence } from '../passage/evidence.ts';
import type { BodyRules } from '../passage/json-reader.ts';
import { GeminiReport } from './report.ts';

type Fields = Readonly<Record<string, unknown>>;

/** However it ends, the last event repeats the interaction; one that wants a tool's result has completed. */
const TERMINAL = new Set([
  'interaction.completed',
  'interaction.complete',
  'interaction.failed',
  'interaction.cancelled',
  'interaction.incomplete',
]);

export const interactionBody: BodyRules = {
  meter(body) {
    const report = new GeminiReport();
    takeInteraction(report, body);
    return report.metered(true);
  },
  weigh(body, tally) {
    for (const step of [...listOf(body['outputs']), ...listOf(body['steps'])])
      tally.add(promptQuarters([step]));
  },
};

export class InteractionStreamRules implements StreamRules {
  readonly #report = new GeminiReport();
  readonly #evidence = new Evidence((event, tally) => tally.add(deltaQuarters(event['delta'])));

  #told = false;

  judge(bytes: Uint8Array, unit: SseUnit): Fate {
    if (unit.dataLines === 0) return 'forward';
    const type = eventType(bytes, unit);
    if (!TERMINAL.has(type) && type !== 'interaction.created' && type !== 'error') return 'forward';
    const event = parseJson(sseData(bytes, unit));
    if (!isRecord(event)) return 'forward';
    if (isRecord(event['interaction'])) takeInteraction(this.#report, event['interaction']);
    if (type === 'error') this.#report.take({ error: isRecord(event['error']) ? event['error'] : {} });
    this.#told ||= TERMINAL.has(type);
    return TERMINAL.has(type) ? 'terminal' : 'forward';
  }

  seen(bytes: Uint8Array): void {
    this.#evidence.keep(bytes);
  }

  metered(): Metered {
    return this.#report.metered(this.#told);
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return this.#evidence.estimate();
  }
}

function takeInteraction(report: GeminiReport, interaction: Fields): void {
  const { id, model, usage, status } = interaction;
  report.take({
    responseId: id,
    modelVersion: model,
    usageMetadata: asMetadata(usage),
    error: status === 'failed' ? { code: 'failed' } : undefined,
  });
}

/** The counts by the names of `usageMetadata`, so that one arithmetic reads both. */
function asMetadata(usage: unknown): unknown {
  if (!isRecord(usage)) return undefined;
  return {
    promptTokenCount: usage['total_input_tokens'],
    cachedContentTokenCount: usage['total_cached_tokens'],
    toolUsePromptTokenCount: usage['total_tool_use_tokens'],
    candidatesTokenCount: usage['total_output_tokens'],
    thoughtsTokenCount: usage['total_thought_tokens'],
    totalTokenCount: usage['total_tokens'],
    promptTokensDetails: asDetails(usage['input_tokens_by_modality']),
    cacheTokensDetails: asDetails(usage['cached_tokens_by_modality']),
    toolUsePromptTokensDetails: asDetails(usage['tool_use_tokens_by_modality']),
    candidatesTokensDetails: asDetails(usage['output_tokens_by_modality']),
  };
}

const asDetails = (byModality: unknown): readonly unknown[] =>
  listOf(byModality).map((one) =>
    isRecord(one) ? { modality: String(one['modality']).toUpperCase(), tokenCount: one['tokens'] } : one,
  );

/** A delta's text, or a tool call's name and arguments; what tools found is read, not generated. */
function deltaQuarters(delta: unknown): number {
  if (!isRecord(delta)) return 0;
  let quarters = typeof delta['text'] === 'string' ? textQuarters(delta['text']) : 0;
  if (typeof delta['name'] === 'string') quarters += textQuarters(delta['name']);
  const called = delta['arguments'] ?? delta['partial_arguments'];
  if (typeof called === 'string') quarters += textQuarters(called);
  else if (isRecord(called)) quarters += textQuarters(JSON.stringify(called));
  return quarters;
}
