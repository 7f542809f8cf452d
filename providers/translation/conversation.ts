/**
 * What a request says, whichever dialect said it: the middle of every translation. Each dialect has one file that reads
 * its requests into a `Conversation` and one that writes a `Conversation` as its own request, so a new dialect is two
 * files and not two for every other.
 *
 * A reader that meets what a `Conversation` cannot hold, and a writer that is given what its dialect cannot say, throws
 * `Untranslatable` with the parameter's name: nothing is dropped in silence. So that a writer can name it as the caller
 * does, everything knows where it stood: a part, a tool or a format by its `at`, a member of the whole by `names`.
 */

/** A request cannot be carried over. `param` is the caller's own name for it, e.g. `messages[2].content[0].file_id`. */
export class Untranslatable extends Error {
  override readonly name = 'Untranslatable';
  readonly param: string;
  /** `unsupported`: it means something that cannot be said. `malformed`: it is not what the dialect asks for. */
  readonly kind: 'unsupported' | 'malformed';
  constructor(param: string, why: string, kind: Untranslatable['kind'] = 'unsupported') {
    super(why);
    this.param = param;
    this.kind = kind;
  }
}

export interface Conversation {
  /** What the model is told before the first turn; joined in order where a dialect has one place for it. */
  readonly instructions: readonly TextPart[];
  /** Any order of roles: a writer whose dialect wants them to alternate joins neighbours. */
  readonly turns: readonly Turn[];
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice | undefined;
  /** False: one tool call a turn at most. Undefined: the vendor's own default. */
  readonly parallelTools: boolean | undefined;
  readonly format: OutputFormat | undefined;
  readonly reasoning: Reasoning;
  readonly sampling: Sampling;
  readonly stream: boolean;
  /** The caller's own name for his end user, where vendors ask for one against abuse. */
  readonly endUser: string | undefined;
  /** The caller's labels, for vendors that keep them beside the reply. */
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly serviceTier: ServiceTier | undefined;
  /** Whether the vendor may keep the reply to be read again by id. */
  readonly store: boolean | undefined;
  /** Sets apart the callers that share a beginning of their prompts, for vendors that cache by it. */
  readonly cacheKey: string | undefined;
  readonly verbosity: 'low' | 'medium' | 'high' | undefined;
  /** What the caller calls the members above that he gave, and the turns where he does not say `messages`. */
  readonly names: Readonly<Partial<Record<Member | 'turns', string>>>;
}

/** `default` is the vendor's ordinary service; what a vendor calls it is its writer's business. */
export type ServiceTier = 'auto' | 'default' | 'flex' | 'priority';

/** Everything of a conversation that a dialect may be unable to say as a whole. */
export type Member =
  | 'tools'
  | 'toolChoice'
  | 'parallelTools'
  | 'format'
  | 'effort'
  | 'budgetTokens'
  | 'visible'
  | keyof Sampling
  | 'endUser'
  | 'metadata'
  | 'serviceTier'
  | 'store'
  | 'cacheKey'
  | 'verbosity';

/** Whose secret a proof of thought is. `compatible`: a thought without proof, of a vendor that speaks OpenAI's dialect. */
export type Vendor = 'openai' | 'anthropic' | 'google' | 'compatible';

export interface Turn {
  /** `system`: the operator's word after the first turn; before it, it stands in `instructions`. */
  readonly role: 'user' | 'assistant' | 'system';
  readonly parts: readonly Part[];
}

export type Part =
  | TextPart
  | ImagePart
  | DocumentPart
  | AudioPart
  | ToolCallPart
  | ToolResultPart
  | ReasoningPart
  | RefusalPart;

export interface TextPart {
  readonly kind: 'text';
  readonly at?: string | undefined;
  readonly text: string;
  /** The caller marks here what is to be cached; only vendors that ask for such marks are told. */
  readonly cache?: CacheMark | undefined;
}
export interface CacheMark {
  readonly ttl: '5m' | '1h' | undefined;
}
export interface ImagePart {
  readonly kind: 'image';
  readonly at?: string | undefined;
  readonly source: Source;
  readonly detail?: 'low' | 'high' | 'original' | 'auto' | undefined;
  readonly cache?: CacheMark | undefined;
}
export interface DocumentPart {
  readonly kind: 'document';
  readonly at?: string | undefined;
  readonly source: Source;
  readonly name?: string | undefined;
  readonly cache?: CacheMark | undefined;
}
export interface AudioPart {
  readonly kind: 'audio';
  readonly at?: string | undefined;
  readonly source: Source;
}
/** Bytes in base64 with their media type, or an address that the vendor fetches, or plain text (documents only). */
export type Source =
  | { readonly kind: 'data'; readonly mediaType: string; readonly base64: string }
  | { readonly kind: 'url'; readonly url: string; readonly mediaType: string | undefined }
  | { readonly kind: 'text'; readonly text: string };

export interface ToolCallPart {
  readonly kind: 'tool_call';
  readonly at?: string | undefined;
  /** The id that the result names; made by the reader, stably, where the dialect has none (Gemini). */
  readonly id: string;
  readonly name: string;
  /** The arguments as JSON text, exactly as the model wrote them; `{}` where it wrote none. */
  readonly argumentsJson: string;
  /** Google's proof that the model thought before it called (`thoughtSignature`); nobody else is given it. */
  readonly signature?: string | undefined;
  readonly cache?: CacheMark | undefined;
}
export interface ToolResultPart {
  readonly kind: 'tool_result';
  readonly at?: string | undefined;
  readonly id: string;
  /** The tool's name, where the dialect says it or an earlier call of the conversation does. */
  readonly name: string | undefined;
  readonly content: readonly (TextPart | ImagePart | DocumentPart)[];
  readonly isError: boolean;
  readonly cache?: CacheMark | undefined;
}
/**
 * What the model thought. `signature` and `sealed` are the vendor's and opaque: they go back to the vendor that made
 * them, unchanged, and to nobody else.
 */
export interface ReasoningPart {
  readonly kind: 'reasoning';
  readonly at?: string | undefined;
  readonly text: string;
  /** Who thought; undefined where nobody knows. Only that vendor is given the thought again. */
  readonly vendor?: Vendor | undefined;
  /** Proof that goes with `text` (Anthropic's `signature`). */
  readonly signature?: string | undefined;
  /** Thoughts that only the vendor can read (Anthropic's `redacted_thinking`, OpenAI's `encrypted_content`). */
  readonly sealed?: string | undefined;
  /** The vendor's id of the thought (OpenAI's `rs_…`). */
  readonly id?: string | undefined;
}
export interface RefusalPart {
  readonly kind: 'refusal';
  readonly at?: string | undefined;
  readonly text: string;
}

export interface Tool {
  readonly at?: string | undefined;
  readonly name: string;
  readonly description: string | undefined;
  /** A JSON schema; undefined for a tool without parameters. */
  readonly parameters: Readonly<Record<string, unknown>> | undefined;
  readonly strict: boolean | undefined;
  readonly cache?: CacheMark | undefined;
}
export type ToolChoice =
  { readonly kind: 'auto' | 'none' | 'required' } | { readonly kind: 'tool'; readonly name: string };

/** `text` is what every vendor writes unasked. */
export type OutputFormat =
  | { readonly kind: 'text' | 'json_object' }
  | {
      readonly kind: 'json_schema';
      readonly name: string;
      readonly description: string | undefined;
      readonly schema: Readonly<Record<string, unknown>>;
      readonly strict: boolean | undefined;
    };

export interface Reasoning {
  /** OpenAI's scale; others are mapped by a table. */
  readonly effort: 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max' | undefined;
  /** Tokens the model may think, where the dialect counts them; 0 for none at all, -1 for as many as it likes. */
  readonly budgetTokens: number | undefined;
  /** Whether the caller wants to read what the model thought. */
  readonly visible: boolean | undefined;
}

export interface Sampling {
  readonly maxTokens: number | undefined;
  readonly temperature: number | undefined;
  readonly topP: number | undefined;
  readonly topK: number | undefined;
  readonly stop: readonly string[] | undefined;
  readonly seed: number | undefined;
  readonly presencePenalty: number | undefined;
  readonly frequencyPenalty: number | undefined;
  /** Choices asked for; one where undefined. */
  readonly choices: number | undefined;
  /** How many of the likeliest tokens to tell at each place; 0: only the chosen one's. Undefined: none asked. */
  readonly logprobs: number | undefined;
}
