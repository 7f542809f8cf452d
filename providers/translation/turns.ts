/** Turns as most dialects want them. */
import type { Conversation, DocumentPart, Part, TextPart, ToolResultPart, Turn } from './conversation.ts';
import { malformed } from './reading.ts';

/**
 * Neighbours of one role become one turn, tools' answers first; turns without anything to say are left out. Thoughts that
 * lead to nothing said are nothing: no dialect takes a turn that ends with one.
 */
export function joinedTurns(turns: readonly Turn[]): readonly Turn[] {
  const joined = joinedNeighbours(turns).map(({ role, parts }) => ({
    role,
    parts: parts.slice(0, parts.findLastIndex(({ kind }) => kind !== 'reasoning') + 1),
  }));
  return joinedNeighbours(joined).map(({ role, parts }) => ({
    role,
    parts: [...parts.filter(isResult), ...parts.filter(isOther)],
  }));
}

function joinedNeighbours(turns: readonly Turn[]): readonly Turn[] {
  const joined: { role: Turn['role']; parts: Part[] }[] = [];
  for (const { role, parts } of turns) {
    const said = parts.filter((part) => part.kind !== 'text' || part.text !== '');
    const last = joined.at(-1);
    if (last?.role === role) last.parts.push(...said);
    else if (said.length > 0) joined.push({ role, parts: said });
  }
  return joined;
}

/** Everything the system says, for dialects that have one place for it: what it says later stands behind. */
export const systemTexts = ({ instructions, turns }: Conversation): readonly TextPart[] =>
  [...instructions, ...turns.filter(({ role }) => role === 'system').flatMap(({ parts }) => parts)].filter(
    (part) => part.kind === 'text' && part.text !== '',
  ) as readonly TextPart[];

export const withoutSystem = (turns: readonly Turn[]): readonly Turn[] =>
  turns.filter(({ role }) => role !== 'system');

/** Texts in the one string that a dialect wants. */
export const joinedText = (parts: readonly TextPart[]): string => parts.map(({ text }) => text).join('\n\n');

/** A tool's answer where the dialect cannot say that it is an error: its first text says so. */
export function tellingError(result: ToolResultPart): ToolResultPart['content'] {
  const { content, isError } = result;
  if (!isError) return content;
  const [first, ...rest] = content;
  if (first?.kind !== 'text') return [{ kind: 'text', text: 'Error' }, ...content];
  return /^error\b/i.test(first.text) ? content : [{ ...first, text: `Error: ${first.text}` }, ...rest];
}

/** A document that is text, as text with its name before it; undefined for any other. */
export function documentText(document: DocumentPart): string | undefined {
  const text = bareText(document);
  const { name } = document;
  if (text === undefined) return undefined;
  return name === undefined || name === '' ? text : `${name}\n\n${text}`;
}

/** The same without its name. */
export function bareText({ source, at }: DocumentPart): string | undefined {
  if (source.kind === 'text') return source.text;
  if (source.kind === 'url' || !/^(?:text\/|application\/json\b)/.test(source.mediaType)) return undefined;
  try {
    const binary = atob(source.base64);
    return new TextDecoder().decode(Uint8Array.from(binary, (letter) => letter.charCodeAt(0)));
  } catch {
    throw malformed(at ?? 'messages', 'must have its data in base64');
  }
}

const isResult = (part: Part): boolean => part.kind === 'tool_result';
const isOther = (part: Part): boolean => !isResult(part);
