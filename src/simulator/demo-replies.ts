/** What the demo models say. A word is a token, on both sides, so anyone can check a bill by counting. */

/** One chat request, as far as the demo models care. Unknown fields are taken and ignored. */
export interface DemoRequest {
  readonly model: string;
  readonly messages: readonly DemoMessage[];
  readonly tools: readonly DemoTool[];
  readonly wordsMax: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

export interface DemoMessage {
  readonly role: string;
  readonly text: string;
}

export interface DemoTool {
  readonly name: string;
  readonly parameters: unknown;
}

/** What a model generates: words of text, or a tool call whose arguments come in the same pieces. */
export interface DemoReply {
  readonly tool: string | null;
  readonly words: readonly string[];
  readonly finish: 'stop' | 'length' | 'tool_calls';
  /** Waited before each word. */
  readonly wordDelayMs: number;
}

export const DEMO_MODELS = ['echo', 'count', 'tools', 'slow', 'fail'] as const;
export type DemoModel = (typeof DEMO_MODELS)[number];

/** `count` stops here: 100,000 words are about 25 MB of stream. */
const COUNT_MAX = 100_000;
const COUNT_DEFAULT = 10;

/** The model asked for, with or without the gateway's prefix; nothing for one that does not exist. */
export function demoModel(name: string): DemoModel | undefined {
  const bare = name.replace(/^demo\//, '');
  return DEMO_MODELS.find((model) => model === bare);
}

/** The reply of every model but `fail`. The same request always gets the same words. */
export function demoReply(
  model: DemoModel,
  request: DemoRequest,
  delaysMs: { word: number; slow: number },
): DemoReply {
  const last = request.messages.at(-1)?.text ?? '';
  const tool = model === 'tools' ? request.tools[0] : undefined;
  // A tool's result is answered in words, or an agent would call the tool for ever.
  const calls = tool !== undefined && request.messages.at(-1)?.role !== 'tool';
  const all = calls
    ? wordsOf(JSON.stringify(sample(tool.parameters, last), undefined, 1))
    : model === 'count'
      ? counted(last)
      : wordsOf(last === '' ? 'You said nothing.' : last);
  const words = all.slice(0, request.wordsMax);
  const whole = words.length === all.length;
  return {
    tool: calls ? tool.name : null,
    words,
    finish: whole ? (calls ? 'tool_calls' : 'stop') : 'length',
    wordDelayMs: model === 'slow' ? delaysMs.slow : delaysMs.word,
  };
}

/** A word with the white space after it, so that the words put together are the text. */
export const wordsOf = (text: string): string[] => text.match(/\s*\S+\s*/g) ?? [];

/** The prompt's words, each message's role counted as one. */
export const promptTokens = ({ messages }: DemoRequest): number =>
  messages.reduce((sum, { text }) => sum + 1 + wordsOf(text).length, 0);

function counted(text: string): string[] {
  const asked = Number(/\d+/.exec(text)?.[0] ?? COUNT_DEFAULT);
  const words = Array.from({ length: Math.min(asked, COUNT_MAX) }, (_, index) => `${index + 1} `);
  return words.length === 0 ? ['Nothing.'] : words;
}

/** Arguments that fit a tool's schema: every property, filled by its type. */
function sample(schema: unknown, text: string, depth = 0): unknown {
  if (typeof schema !== 'object' || schema === null || depth > 8) return {};
  const { type, properties, items, enum: choices } = schema as Record<string, unknown>;
  if (Array.isArray(choices)) return choices[0];
  switch (type) {
    case 'string':
      return text;
    case 'number':
    case 'integer':
      return 1;
    case 'boolean':
      return true;
    case 'array':
      return [sample(items, text, depth + 1)];
    case 'null':
      return null;
    default:
      return Object.fromEntries(
        Object.entries(properties ?? {}).map(([name, inner]) => [name, sample(inner, text, depth + 1)]),
      );
  }
}
