/**
 * What a request has that bears on how many tokens it can cost. It is read in one walk over the whole JSON, by the names
 * that vendors use, whatever the dialect: a name where it means nothing costs a little room, one overlooked costs money.
 */
import { isRecord, listOf, textOf } from '../../usage/json-value.ts';
import { configsOf, outputCapsOf } from './output-caps.ts';

export interface RequestFeatures {
  /** Tools that the caller runs himself. */
  readonly tools: number;
  /** Of those, the vendor's own kinds (bash, computer, text editor), whose descriptions the vendor adds. */
  readonly vendorTools: number;
  readonly schemas: number;
  readonly images: number;
  /** Sound in a coding whose bytes bound its length. */
  readonly sounds: number;
  readonly cacheWrites: 'none' | 'short' | 'hour';
  /** Input that lies elsewhere, or whose bytes say nothing of its tokens: the context window is its only bound. */
  readonly windowed: readonly string[];
  /** What makes the vendor run the model again, or fetch more, as often as it likes. */
  readonly boundless: readonly string[];
  /** Every limit on generated tokens that the request names. */
  readonly outputCaps: readonly number[];
  readonly thinkingBudget: number | null;
  /** How many replies are generated. */
  readonly replies: number;
  readonly makesAudio: boolean;
  readonly makesImages: boolean;
  /** A guess at the reply that is paid for where it is wrong. */
  readonly hasPrediction: boolean;
}

type Mutable = { -readonly [Key in keyof RequestFeatures]: RequestFeatures[Key] };
type Seen = Omit<Mutable, 'windowed' | 'boundless'> & {
  readonly windowed: string[];
  readonly boundless: string[];
};

const SCHEMAS = new Set([
  'response_format',
  'responseSchema',
  'response_schema',
  'responseJsonSchema',
  'output_format',
  'output_config',
]);
const WINDOWED = new Set([
  'previous_response_id',
  'previous_interaction_id',
  'conversation',
  'cachedContent',
  'cached_content',
  'file_id',
  'file_data',
  'fileData',
  'file_uri',
  'fileUri',
  'file_url',
]);
const BOUNDLESS = new Set([
  'web_search_options',
  'mcp_servers',
  'context_management',
  'container',
  'plugins',
  'background',
  'agent',
  'search_parameters',
  'googleSearch',
  'google_search',
  'googleSearchRetrieval',
  'google_search_retrieval',
  'urlContext',
  'url_context',
  'codeExecution',
  'code_execution',
  'fileSearch',
  'file_search',
  'googleMaps',
  'google_maps',
  'computerUse',
  'computer_use',
  'enterpriseWebSearch',
]);
/** Types of a tool that the caller runs: the vendor only describes it. */
const OWN_TOOL = /^(?:function|custom|namespace)$/;
const VENDOR_TOOL = /^(?:bash_|text_editor_|computer_2|memory_)/;
const IMAGE_PART = /^(?:image|image_url|input_image)$/;
const FILE_PART = /^(?:file|input_file|document|video_url|input_video|video|container_upload)$/;
/** Codings that spend bytes on every second: uncompressed, and MP3 with its 8 kbit/s at the least. */
const SOUND = /(?:^|\/|-)(?:wav|mp3|mpeg|pcm16|l16)$/;

const MODALITIES = /^(?:response_?)?modalities$/i;

/** `endpoint` is the gateway's name of the route that was asked: which settings mean something depends on it. */
export function featuresOf(body: unknown, endpoint: string): RequestFeatures {
  const seen: Seen = {
    tools: 0,
    vendorTools: 0,
    schemas: 0,
    images: 0,
    sounds: 0,
    cacheWrites: 'none',
    windowed: [],
    boundless: [],
    outputCaps: [],
    thinkingBudget: null,
    replies: 1,
    makesAudio: false,
    makesImages: false,
    hasPrediction: false,
  };
  walk(body, seen);
  if (isRecord(body)) top(body, endpoint, seen);
  return seen;
}

/** A request is as bound with so many reasons as with more, and a refusal names them all. */
const REASONS_MAX = 16;
/** Once, however often the request has it. */
function add(names: string[], name: string): void {
  if (names.length < REASONS_MAX && !names.includes(name)) names.push(name);
}

/** What means something only at the top of a request: deeper, the same names are the caller's own. */
function top(body: Readonly<Record<string, unknown>>, endpoint: string, seen: Seen): void {
  // A stored prompt brings tools of its own, which may be the vendor's; the older completions have text of that name.
  if (isRecord(body['prompt'])) add(seen.boundless, 'prompt');
  const prompts = promptsOf(body['prompt']);
  if (isRecord(body['prediction'])) seen.hasPrediction = true;
  for (const tool of manyOf(body['tools'])) readTool(tool, seen);
  const configs = configsOf(body);
  for (const settings of [body, ...configs])
    for (const name in settings) readSetting(name, settings[name], seen);
  const { caps, replies, thinkingBudget } = outputCapsOf(body, configs, endpoint);
  seen.outputCaps = caps;
  seen.replies = replies * prompts;
  seen.thinkingBudget = thinkingBudget;
}

/** A lenient server takes one for a list of one. */
const manyOf = (value: unknown): readonly unknown[] => (isRecord(value) ? [value] : listOf(value));

/** The older completions take a list of prompts, as text or as lists of tokens, and answer each. */
const promptsOf = (prompt: unknown): number =>
  Math.max(1, listOf(prompt).filter((one) => typeof one !== 'number').length);

function readSetting(name: string, value: unknown, seen: Seen): void {
  if (value === null || value === false) return;
  if (SCHEMAS.has(name)) seen.schemas += 1;
  if (BOUNDLESS.has(name)) add(seen.boundless, name);
  if (MODALITIES.test(name)) {
    const words = new Set(listOf(value).map((word) => String(word).toLowerCase()));
    seen.makesAudio ||= words.has('audio');
    seen.makesImages ||= words.has('image');
  }
}

function readTool(tool: unknown, seen: Seen): void {
  if (!isRecord(tool)) return;
  const declared = tool['functionDeclarations'] ?? tool['function_declarations'];
  const type = textOf(tool['type']);
  if (declared !== undefined) seen.tools += Math.max(1, manyOf(declared).length);
  else if (type === undefined || OWN_TOOL.test(type)) seen.tools += 1;
  else if (VENDOR_TOOL.test(type)) seen.vendorTools += 1;
  else add(seen.boundless, type);
  for (const name of Object.keys(tool)) if (BOUNDLESS.has(name)) add(seen.boundless, name);
}

/** Nesting was bounded when the body was read. */
function walk(value: unknown, seen: Seen): void {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, seen);
    return;
  }
  if (!isRecord(value)) return;
  readPart(value, seen);
  for (const name in value) {
    const item = value[name];
    if (item === null) continue;
    if (WINDOWED.has(name)) add(seen.windowed, name);
    if (name === 'cache_control' && isRecord(item))
      seen.cacheWrites = item['ttl'] === '1h' || seen.cacheWrites === 'hour' ? 'hour' : 'short';
    if (typeof item === 'object') walk(item, seen);
  }
}

function readPart(part: Readonly<Record<string, unknown>>, seen: Seen): void {
  const type = textOf(part['type']);
  if (type !== undefined && IMAGE_PART.test(type)) seen.images += 1;
  if (type !== undefined && FILE_PART.test(type) && !isPlainText(part['source'])) add(seen.windowed, type);
  if (type === 'input_audio') readSound(part['input_audio'] ?? part, 'format', seen);
  if (type === 'audio') readSound(part, 'mime_type', seen);
  for (const name of ['inlineData', 'inline_data']) {
    const data = part[name];
    if (isRecord(data)) readInline(data, seen);
  }
}

/** Anthropic's documents of text are text. */
const isPlainText = (source: unknown): boolean =>
  isRecord(source) && (source['type'] === 'text' || source['type'] === 'content');

function readInline(data: Readonly<Record<string, unknown>>, seen: Seen): void {
  const mime = String(data['mimeType'] ?? data['mime_type'] ?? '');
  if (mime.startsWith('image/')) seen.images += 1;
  else if (SOUND.test(mime)) seen.sounds += 1;
  else if (!mime.startsWith('text/')) add(seen.windowed, mime === '' ? 'inline data' : mime);
}

function readSound(sound: unknown, key: string, seen: Seen): void {
  const format = isRecord(sound) ? String(sound[key] ?? '') : '';
  if (SOUND.test(format)) seen.sounds += 1;
  else add(seen.windowed, 'audio');
}
