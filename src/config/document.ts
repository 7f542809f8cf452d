/**
 * The YAML text as a plain tree with a position for every path, variables put in and literal secrets found.
 *
 * Whole numbers become numbers; every other number stays the text it was written as, so that no price is ever a float.
 */
import {
  type Document,
  LineCounter,
  type Pair,
  Scalar,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
} from 'yaml';
import { type Path, type Problem, pathText } from './problem.ts';
import { substitute } from './substitute.ts';

export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain };
export type Env = Readonly<Record<string, string | undefined>>;

export interface SourceDocument {
  readonly tree: Plain;
  /** The problem with its place in the file: of the path itself, or of its nearest ancestor that is written there. */
  at(path: Path, message: string): Problem;
  /** Paths whose text came, in whole or in part, from the environment: never shown. */
  readonly substituted: ReadonlySet<string>;
  /** Paths of credentials whose variable is unset or empty, with the variable's name. */
  readonly unset: ReadonlyMap<string, string>;
  readonly problems: readonly Problem[];
}

/** A configuration is a few hundred lines; a megabyte is a wrong file. */
const TEXT_CHARS_MAX = 1_048_576;
/** Bounds what aliases can multiply a small file into. */
const NODES_MAX = 20_000;
const DEPTH_MAX = 32;

interface Reading {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  readonly env: Env;
  readonly offsets: Map<string, number>;
  readonly substituted: Set<string>;
  readonly unset: Map<string, string>;
  readonly problems: Problem[];
  nodes: number;
}

export function readDocument(text: string, env: Env): SourceDocument {
  const lines = new LineCounter();
  const tooLong = text.length > TEXT_CHARS_MAX;
  const document = parseDocument(tooLong ? '' : text, { lineCounter: lines, prettyErrors: false });
  const reading: Reading = {
    document,
    lines,
    env,
    offsets: new Map([['', 0]]),
    substituted: new Set(),
    unset: new Map(),
    problems: [],
    nodes: 0,
  };
  if (tooLong) report(reading, '', 0, 'is over 1 MiB: this is not a configuration file');
  for (const error of [...document.errors, ...document.warnings]) {
    report(reading, '', error.pos[0], yamlMessage(error.code, error.message));
  }
  reportSecrets(reading, text);
  const tree = plain(reading, document.contents, []) ?? {};
  const at = (path: Path, message: string): Problem => {
    let length = path.length;
    while (length > 0 && !reading.offsets.has(pathText(path.slice(0, length)))) length -= 1;
    return problemAt(
      reading,
      pathText(path),
      reading.offsets.get(pathText(path.slice(0, length))) ?? 0,
      message,
    );
  };
  return { tree, at, substituted: reading.substituted, unset: reading.unset, problems: reading.problems };
}

function plain(reading: Reading, node: unknown, path: Path): Plain {
  reading.nodes += 1;
  if (reading.nodes > NODES_MAX || path.length > DEPTH_MAX) {
    if (reading.nodes <= NODES_MAX + 1)
      report(reading, pathText(path), offsetOf(node), 'the file is nested too deep or has too many nodes');
    return null;
  }
  const text = pathText(path);
  if (!reading.offsets.has(text)) reading.offsets.set(text, offsetOf(node));
  if (isAlias(node)) return plain(reading, node.resolve(reading.document), path);
  if (isSeq(node)) return node.items.map((item, index) => plain(reading, item, [...path, index]));
  if (isMap(node)) return Object.fromEntries(node.items.map((pair) => plainPair(reading, pair, path)));
  return isScalar(node) ? plainScalar(reading, node, path) : null;
}

function plainPair(reading: Reading, pair: Pair, path: Path): [string, Plain] {
  if (!isScalar(pair.key)) {
    report(reading, pathText(path), offsetOf(pair.key), 'a key must be a word, not a list or a mapping');
    return ['', null];
  }
  const key = pair.key.source ?? String(pair.key.value);
  const below = [...path, key];
  reading.offsets.set(pathText(below), offsetOf(pair.key));
  return [key, plain(reading, pair.value, below)];
}

function plainScalar(reading: Reading, node: Scalar, path: Path): Plain {
  if (typeof node.value === 'number' || typeof node.value === 'bigint')
    return numberOrText(node.source ?? String(node.value));
  if (typeof node.value !== 'string') return typeof node.value === 'boolean' ? node.value : null;
  const text = pathText(path);
  const result = substitute(node.value, reading.env);
  if (result.used) reading.substituted.add(text);
  if (result.problem !== undefined) {
    report(reading, text, offsetOf(node), result.problem);
    return null;
  }
  if (result.unset !== undefined) {
    if (path.at(-1) === 'api_key') reading.unset.set(text, result.unset);
    else
      report(
        reading,
        text,
        offsetOf(node),
        `${result.unset} is not set; set it, or write \${${result.unset}:-default}`,
      );
    return null;
  }
  return result.used && node.type === Scalar.PLAIN ? retyped(result.text) : result.text;
}

/** A plain scalar means after substitution what it would have meant if written out. */
function retyped(text: string): Plain {
  if (text === '' || text === 'null' || text === '~') return null;
  if (text === 'true' || text === 'false') return text === 'true';
  return numberOrText(text);
}

const numberOrText = (text: string): number | string =>
  /^-?(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : text;

/**
 * Prefixes of the credentials that most often end up in a file and then in a repository: Stripe's, OpenAI's and
 * Anthropic's, Groq's, Google's. Comments are searched too.
 */
const SECRET = /(?<![A-Za-z0-9])(?:sk[-_]|rk[-_]|whsec_|gsk_|AIza)[\w-]{8,}/g;

function reportSecrets(reading: Reading, text: string): void {
  for (const match of text.matchAll(SECRET)) {
    report(
      reading,
      '',
      match.index,
      `a secret (${match[0].slice(0, 3)}…) is written in the file; put it in the environment and write \${ITS_NAME} here, and replace it if the file was shared`,
    );
  }
}

const yamlMessage = (code: string, message: string): string =>
  code === 'DUPLICATE_KEY' ? 'this key is given twice; keep one' : `not valid YAML: ${message}`;

function report(reading: Reading, path: string, offset: number, message: string): void {
  reading.problems.push(problemAt(reading, path, offset, message));
}

function problemAt(reading: Reading, path: string, offset: number, message: string): Problem {
  const { line, col } = reading.lines.linePos(offset);
  return { path, line: Math.max(line, 1), column: Math.max(col, 1), message };
}

function offsetOf(node: unknown): number {
  if (!isAlias(node) && !isMap(node) && !isSeq(node) && !isScalar(node)) return 0;
  return node.range?.[0] ?? 0;
}
