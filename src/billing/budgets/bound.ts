/**
 * What a call may cost at most, and what it probably costs, in tokens, from its request alone. Pure.
 *
 * A token of text stands for a byte at least, so text is bounded by its bytes; vendors add text of their own, by what is
 * asked of them, so bytes alone are no bound: a Claude call of 536 bytes with a tool was billed 633 tokens. Hence the
 * table below, fitted to recorded traffic with room to spare. docs/budgets.md states the theorem and its assumptions.
 */
import type { ModelLimits } from './model-limits.ts';
import type { RequestFeatures } from './request-features.ts';

/** Whose way of adding tokens it is. */
export type Vendor = 'openai' | 'anthropic' | 'google' | 'other';

export interface BoundRequest {
  readonly vendor: Vendor;
  readonly bodyBytes: number;
  readonly features: RequestFeatures;
  readonly limits: ModelLimits;
  /** Whether the route generates text; embeddings do not. */
  readonly generates: boolean;
}

export interface Bound {
  /** The most that can be read; null where nothing bounds it. */
  readonly inputTokens: number | null;
  /** The most that can be generated, all replies together; null where nothing bounds it. */
  readonly outputTokens: number | null;
  /** What is expected to be generated where the request names no cap; the bound where it does. */
  readonly outputExpected: number;
  /** The request itself names its cap. */
  readonly isCapped: boolean;
  /** Why a part has no bound, or only the context window: names from the request. */
  readonly reasons: readonly string[];
}

interface Overhead {
  /** For any request: roles, separators, hidden preambles. */
  readonly any: number;
  /** Once, where there are tools, and for each of them. */
  readonly tools: number;
  readonly tool: number;
  /** For each of the vendor's own tools that the caller runs. */
  readonly vendorTool: number;
  readonly schema: number;
  /** For an image, whatever its bytes: by the largest that the vendor's rules can count. */
  readonly image: number;
  readonly sound: number;
}

/**
 * Tokens beyond bytes. Recorded at most, without what has no bound: OpenAI 0 (images 1,904), Anthropic 274 with tools and
 * citations, Gemini 0 (images 151), others 384 and 155 with tools. Images: gpt-4o-mini counts up to 48,169 for one.
 */
const OVERHEADS: Readonly<Record<Vendor, Overhead>> = {
  openai: { any: 128, tools: 512, tool: 32, vendorTool: 1024, schema: 256, image: 50_000, sound: 256 },
  anthropic: { any: 256, tools: 1024, tool: 64, vendorTool: 1536, schema: 512, image: 6_400, sound: 256 },
  google: { any: 128, tools: 512, tool: 32, vendorTool: 1024, schema: 256, image: 10_000, sound: 512 },
  other: { any: 2048, tools: 2048, tool: 64, vendorTool: 2048, schema: 512, image: 50_000, sound: 1024 },
};

/** Generated where no cap is named: nine of ten recorded replies are shorter. */
const OUTPUT_EXPECTED = 1_024;
/** Gemini counts thought apart from the reply in some versions; the largest budget any of its models has. */
const GEMINI_THOUGHT_MAX = 65_536;
/** Models that always think take no smaller budget: 128 some, 512 others. */
const GEMINI_THOUGHT_MIN = 512;
/** A cap below it is raised to it where a request is translated for the Responses API, which takes no less. */
const OUTPUT_CAP_MIN = 16;

export function boundOf(request: BoundRequest): Bound {
  const { features } = request;
  const output = request.generates ? outputOf(request) : 0;
  const caps = features.outputCaps.length > 0;
  const boundless = features.boundless.length > 0;
  return {
    inputTokens: boundless ? null : inputOf(request),
    outputTokens: boundless ? null : output,
    outputExpected: request.generates ? expectedOf(request, output) : 0,
    isCapped: caps || !request.generates,
    reasons: [...features.boundless, ...features.windowed, ...(output === null ? ['no output limit'] : [])],
  };
}

function inputOf({ vendor, bodyBytes, features, limits }: BoundRequest): number | null {
  const over = OVERHEADS[vendor];
  const tools = features.tools + features.vendorTools;
  const counted =
    bodyBytes +
    over.any +
    (tools > 0 ? over.tools : 0) +
    features.tools * over.tool +
    features.vendorTools * over.vendorTool +
    features.schemas * over.schema +
    features.images * over.image +
    features.sounds * over.sound;
  if (features.windowed.length === 0) return counted;
  return limits.contextWindow === null ? null : Math.max(counted, limits.contextWindow);
}

function outputOf({ vendor, bodyBytes, features, limits }: BoundRequest): number | null {
  const most = capOf(features) ?? limits.outputMax ?? limits.contextWindow;
  if (most === null) return null;
  const thought = vendor === 'google' ? thoughtOf(features) : 0;
  const guessed = features.hasPrediction ? bodyBytes : 0;
  return (Math.ceil(most) + thought + guessed) * Math.ceil(features.replies);
}

const capOf = ({ outputCaps }: RequestFeatures): number | null =>
  outputCaps.length > 0 ? Math.max(OUTPUT_CAP_MIN, ...outputCaps) : null;

const thoughtOf = ({ thinkingBudget }: RequestFeatures): number =>
  thinkingBudget === null ? GEMINI_THOUGHT_MAX : Math.max(GEMINI_THOUGHT_MIN, thinkingBudget);

function expectedOf({ features }: BoundRequest, output: number | null): number {
  const named = capOf(features) ?? OUTPUT_EXPECTED;
  const expected = Math.ceil(named) * Math.ceil(features.replies);
  return output === null ? expected : Math.min(expected, output);
}
