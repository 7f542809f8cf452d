/** What a model can read and generate at most, where the request does not say. */
import { calcPrice } from '@pydantic/genai-prices';

export interface ModelLimits {
  /** Tokens of one pass, input and output together; null where nobody knows. */
  readonly contextWindow: number | null;
  /** Generated tokens of one reply; null where nobody knows. */
  readonly outputMax: number | null;
}

/** Set by hand, by family, and not below what any recorded reply generated; the first pattern that fits counts. A newer model is given the room of its kin. */
const OUTPUT_MAX: readonly (readonly [RegExp, number])[] = [
  [/^(?:gpt-5-chat|gpt-5\.\d-chat)/, 16_384],
  [/^gpt-5/, 128_000],
  [/^o[1345]/, 100_000],
  [/^gpt-4\.1/, 32_768],
  [/^gpt-4o/, 16_384],
  [/^gpt-4-turbo|^gpt-3\.5/, 4_096],
  [/^gpt-4/, 8_192],
  [/^claude-(?:opus|sonnet|haiku|fable|mythos)-|^claude-\d/, 128_000],
  [/^gemini-(?:2\.5|3)/, 65_536],
  [/^gemini-/, 8_192],
];
/** Where the catalogue has no context window. */
const CONTEXT_WINDOW: readonly (readonly [RegExp, number])[] = [
  [/^gpt-4\.1/, 1_047_576],
  [/^gpt-5|^o[1345]/, 400_000],
  [/^gpt-4o|^gpt-4-turbo/, 128_000],
  [/^gpt-3\.5/, 16_385],
  [/^gpt-4/, 32_768],
  [/^claude-/, 1_000_000],
  [/^gemini-/, 2_097_152],
];
/** Callers choose model names, so the memory of them is bounded. */
const REMEMBERED_MAX = 2_000;
const remembered = new Map<string, ModelLimits>();

/** `vendor` is the catalogue's; null for none. `model` is named as the vendor names it, or as it is billed. */
export function limitsOf(vendor: string | null, model: string): ModelLimits {
  const name = `${vendor ?? ''}/${model}`;
  const known = remembered.get(name);
  if (known !== undefined) return known;
  const limits = {
    contextWindow: catalogueWindow(vendor, model) ?? firstOf(CONTEXT_WINDOW, model),
    outputMax: firstOf(OUTPUT_MAX, model),
  };
  if (remembered.size >= REMEMBERED_MAX) remembered.clear();
  remembered.set(name, limits);
  return limits;
}

const firstOf = (table: readonly (readonly [RegExp, number])[], model: string): number | null =>
  table.find(([pattern]) => pattern.test(model))?.[1] ?? null;

function catalogueWindow(vendor: string | null, model: string): number | undefined {
  if (vendor === null || vendor === '') return undefined;
  return calcPrice({}, model, { providerId: vendor })?.model.context_window;
}
