/**
 * The vocabulary of tokens. Vendors count differently (some put cache reads inside the prompt, some beside it; some put
 * reasoning inside the completion, some beside it), so every reply is brought to one record of disjoint classes.
 */

/** Token counts of one model's part in one reply. Classes do not overlap; each is a safe integer, zero or more. */
export interface TokenCounts {
  /** Read fresh: neither from a cache nor into one. */
  readonly uncachedInput: number;
  readonly cacheRead: number;
  /** Written to a cache that lives five minutes (or whose lifetime the vendor does not tell). */
  readonly cacheWrite: number;
  /** Written to a cache that lives an hour. */
  readonly cacheWrite1h: number;
  readonly audioInput: number;
  readonly imageInput: number;
  /** Generated and shown: text, tool calls, refusals. */
  readonly textOutput: number;
  /** Generated and thought. */
  readonly reasoning: number;
  readonly audioOutput: number;
  readonly imageOutput: number;
}

/**
 * What vendors count beside tokens: pictures made, seconds of sound heard, characters read aloud, and uses of their own
 * tools. Whole numbers; a unit that was not counted is left out.
 */
export type Unit = 'images' | 'seconds' | 'characters' | 'web_searches' | 'web_fetches';
export type Units = Readonly<Partial<Record<Unit, number>>>;

/** Tokens, and what was counted beside them. */
export interface Usage extends TokenCounts {
  readonly units?: Units | undefined;
}

/** One model's usage in one reply. A reply that ran several models has several lines. */
export interface UsageLine extends Usage {
  /** The model that served, as the provider named it in the reply; null when the reply names none. */
  readonly servedModel: string | null;
}

/** What a reader of a reply knows of its usage. It can be asked at any moment. */
export interface Metered {
  /** `final`: the provider's own last word. `cut`: what was reported or seen before the reply broke off. `none`: nothing. */
  readonly kind: 'final' | 'cut' | 'none';
  readonly lines: readonly UsageLine[];
  /** The provider's own id of the reply, for look-ups and disputes. */
  readonly responseId?: string | undefined;
  /** Of a response that is kept: how it stands, as the provider names it; undefined while nothing said so. */
  readonly status?: string | undefined;
  /** When such a response ended, by the provider's clock, seconds since the epoch. */
  readonly completedAtS?: number | undefined;
  /** Why it is not simply final, or what in the report contradicts itself. */
  readonly reason?: string | undefined;
  /** Of a cut reply: the lines know what was read, but not all that was generated; our own count may be more. */
  readonly outputOpen?: boolean | undefined;
  /** The reply said itself that it failed: an HTTP error, or an error inside its body. */
  readonly failed?: boolean | undefined;
}

export const ZERO_TOKENS: TokenCounts = {
  uncachedInput: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWrite1h: 0,
  audioInput: 0,
  imageInput: 0,
  textOutput: 0,
  reasoning: 0,
  audioOutput: 0,
  imageOutput: 0,
};

/** The sum of two usages, units included. */
export function addUsage(a: Usage, b: Usage): Usage {
  const units = addUnits(a.units, b.units);
  return units === undefined ? addCounts(a, b) : { ...addCounts(a, b), units };
}

export function addUnits(a: Units | undefined, b: Units | undefined): Units | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const sum: Partial<Record<Unit, number>> = { ...a };
  for (const [unit, count] of Object.entries(b) as [Unit, number][]) sum[unit] = (sum[unit] ?? 0) + count;
  return sum;
}

export const addCounts = (a: TokenCounts, b: TokenCounts): TokenCounts => ({
  uncachedInput: a.uncachedInput + b.uncachedInput,
  cacheRead: a.cacheRead + b.cacheRead,
  cacheWrite: a.cacheWrite + b.cacheWrite,
  cacheWrite1h: a.cacheWrite1h + b.cacheWrite1h,
  audioInput: a.audioInput + b.audioInput,
  imageInput: a.imageInput + b.imageInput,
  textOutput: a.textOutput + b.textOutput,
  reasoning: a.reasoning + b.reasoning,
  audioOutput: a.audioOutput + b.audioOutput,
  imageOutput: a.imageOutput + b.imageOutput,
});

/** Everything read: cache reads and writes included. */
export const inputTokens = (counts: TokenCounts): number =>
  counts.uncachedInput +
  counts.cacheRead +
  counts.cacheWrite +
  counts.cacheWrite1h +
  counts.audioInput +
  counts.imageInput;

/** Everything generated: reasoning included. */
export const outputTokens = (counts: TokenCounts): number =>
  counts.textOutput + counts.reasoning + counts.audioOutput + counts.imageOutput;
