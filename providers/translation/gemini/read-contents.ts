/** Reads the contents of a generateContent request. */
import {
  type Part,
  type Source,
  type TextPart,
  type ToolCallPart,
  type ToolResultPart,
  type Turn,
  Untranslatable,
} from '../conversation.ts';
import { isGiven, type JsonRecord } from '../members.ts';
import { unsignedId, unwrapProof } from '../proofs.ts';
import { mediaTypeOf, neededText, oneOfAt, recordAt, textAt } from '../reading.ts';
import { fieldsAt, someAt } from './fields.ts';

export function readInstruction(value: unknown): readonly TextPart[] {
  if (!isGiven(value)) return [];
  const at = 'systemInstruction';
  const { parts } = typeof value === 'string' ? { parts: [{ text: value }] } : fieldsAt(value, at, CONTENT);
  return readParts(parts, `${at}.parts`, new Calls()).map((part) => {
    if (part.kind === 'text') return part;
    throw new Untranslatable(part.at ?? at, 'only text can stand here');
  });
}

export function readContents(value: unknown): readonly Turn[] {
  const calls = new Calls();
  const turns: { readonly role: 'user' | 'assistant'; parts: Part[] }[] = [];
  for (const [index, one] of someAt(value, 'contents').entries()) {
    const at = `contents[${index}]`;
    const content = fieldsAt(one, at, CONTENT);
    const said = oneOfAt(content['role'], `${at}.role`, ['user', 'model', 'function']);
    const parts = readParts(content['parts'], `${at}.parts`, calls);
    const last = turns.at(-1);
    if (said !== 'model') turns.push({ role: 'user', parts: [...parts] });
    else if (last?.role === 'assistant') last.parts.push(...parts);
    else turns.push({ role: 'assistant', parts: [...parts] });
  }
  return turns.map(({ role, parts }) => ({
    role,
    parts: role === 'assistant' ? joinedPieces(parts) : parts,
  }));
}

/**
 * Clients give back piece by piece what they were streamed, each as a part or a content of its own: neighbouring texts of
 * the model are one, and so is a thought up to its proof.
 */
function joinedPieces(parts: readonly Part[]): readonly Part[] {
  const joined: Part[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    const both = last === undefined ? undefined : asOne(last, part);
    if (both === undefined) joined.push(part);
    else joined[joined.length - 1] = both;
  }
  return joined;
}

function asOne(last: Part, part: Part): Part | undefined {
  if (last.kind === 'text' && part.kind === 'text') return { ...last, text: last.text + part.text };
  if (last.kind !== 'reasoning' || part.kind !== 'reasoning') return undefined;
  if (last.signature !== undefined || last.sealed !== undefined) return undefined;
  return { ...last, ...part, at: last.at, text: last.text + part.text };
}

const CONTENT = 'contents[], systemInstruction';

/** The calls that wait for an answer: the dialect may leave ids out, and then the order says which is answered. */
class Calls {
  readonly #waiting: { readonly id: string; readonly name: string }[] = [];
  #made = 0;

  ask(given: string | undefined, name: string): string {
    const id = given ?? `call_${(this.#made += 1)}`;
    this.#waiting.push({ id, name });
    return id;
  }

  answer(given: string | undefined, name: string, at: string): string {
    const index = this.#waiting.findIndex((call) =>
      given === undefined ? call.name === name : call.id === given,
    );
    const [call] = index < 0 ? [] : this.#waiting.splice(index, 1);
    const id = call?.id ?? given;
    if (id !== undefined) return id;
    throw new Untranslatable(at, 'no call before it has this name');
  }
}

const readParts = (value: unknown, at: string, calls: Calls): readonly Part[] =>
  someAt(value, at).flatMap((one, index) => {
    const place = `${at}[${index}]`;
    return readPart(fieldsAt(one, place, 'parts[]'), place, calls);
  });

/** A thought of another vendor is proven by a signature at the part behind it, as this dialect's writer puts it. */
function readPart(part: JsonRecord, at: string, calls: Calls): readonly Part[] {
  const signature = textAt(part['thoughtSignature'], `${at}.thoughtSignature`);
  const proof = unwrapProof(signature ?? '');
  if (part['thought'] === true) {
    const text = textAt(part['text'], `${at}.text`) ?? '';
    return [{ kind: 'reasoning', at, text, ...(proof ?? { vendor: 'google', signature }) }];
  }
  const said = readSaid(part, { at, signature: proof === undefined ? signature : undefined, calls });
  const thought: readonly Part[] =
    proof === undefined ? [] : [{ kind: 'reasoning', at: `${at}.thoughtSignature`, text: '', ...proof }];
  return said === undefined ? thought : [...thought, said];
}

/** An empty id is none. */
const idAt = (value: unknown, at: string): string | undefined => {
  const id = textAt(value, at);
  return id === '' ? undefined : id;
};

interface SaidAt {
  readonly at: string;
  readonly signature: string | undefined;
  readonly calls: Calls;
}

function readSaid(part: JsonRecord, { at, signature, calls }: SaidAt): Part | undefined {
  const { inlineData, fileData, functionCall, functionResponse } = part;
  if (isGiven(functionCall)) return readCall(functionCall, { at: `${at}.functionCall`, signature, calls });
  if (isGiven(functionResponse)) return readResponse(functionResponse, `${at}.functionResponse`, calls);
  if (isGiven(inlineData)) return readInline(inlineData, `${at}.inlineData`);
  if (isGiven(fileData)) return readFile(fileData, `${at}.fileData`);
  const text = textAt(part['text'], `${at}.text`) ?? '';
  return text === '' ? undefined : { kind: 'text', at, text };
}

function readCall(value: unknown, { at, signature, calls }: SaidAt): ToolCallPart {
  const call = fieldsAt(value, at, 'functionCall');
  const name = neededText(call['name'], `${at}.name`);
  const given = idAt(call['id'], `${at}.id`);
  const unsigned = given === undefined ? undefined : unsignedId(given);
  return {
    kind: 'tool_call',
    at,
    id: calls.ask(unsigned?.id, name),
    name,
    argumentsJson: JSON.stringify(isGiven(call['args']) ? recordAt(call['args'], `${at}.args`) : {}),
    signature: unsigned?.signature ?? signature,
  };
}

/** The vendor's own words for what came of a call are `output` and `error`; anything else is told as it stands. */
function readResponse(value: unknown, at: string, calls: Calls): ToolResultPart {
  const answer = fieldsAt(value, at, 'functionResponse');
  const name = neededText(answer['name'], `${at}.name`);
  const given = idAt(answer['id'], `${at}.id`);
  const response = isGiven(answer['response']) ? recordAt(answer['response'], `${at}.response`) : {};
  const [[key, only] = ['', undefined], ...others] = Object.entries(response);
  const told = others.length === 0 && (key === 'output' || key === 'error') ? only : response;
  const shown = readParts(answer['parts'], `${at}.parts`, calls).map((part) => {
    if (part.kind === 'image' || part.kind === 'document') return part;
    throw new Untranslatable(part.at ?? at, "a tool's answer has text, images and documents only");
  });
  return {
    kind: 'tool_result',
    at,
    id: calls.answer(given === undefined ? undefined : unsignedId(given).id, name, at),
    name,
    content: [
      { kind: 'text', at: `${at}.response`, text: typeof told === 'string' ? told : JSON.stringify(told) },
      ...shown,
    ],
    isError: others.length === 0 && key === 'error',
  };
}

function readInline(value: unknown, at: string): Part {
  const blob = fieldsAt(value, at, 'inlineData');
  const mediaType = mediaTypeOf(neededText(blob['mimeType'], `${at}.mimeType`));
  const base64 = neededText(blob['data'], `${at}.data`);
  return mediaPart({ kind: 'data', mediaType, base64 }, { at, mediaType, name: blob['displayName'] });
}

function readFile(value: unknown, at: string): Part {
  const file = fieldsAt(value, at, 'fileData');
  const url = neededText(file['fileUri'], `${at}.fileUri`);
  const mediaType = textAt(file['mimeType'], `${at}.mimeType`)?.toLowerCase() ?? '';
  if (!/^https?:\/\//.test(url) || url.startsWith('https://generativelanguage.googleapis.com/'))
    throw new Untranslatable(`${at}.fileUri`, 'what the vendor keeps is known to it alone; send the data');
  return mediaPart({ kind: 'url', url, mediaType }, { at, mediaType, name: file['displayName'] });
}

interface Media {
  readonly at: string;
  readonly mediaType: string;
  readonly name: unknown;
}

function mediaPart(source: Source, { at, mediaType, name }: Media): Part {
  if (mediaType.startsWith('image/')) return { kind: 'image', at, source };
  if (mediaType.startsWith('audio/')) return { kind: 'audio', at, source };
  if (mediaType.startsWith('video/')) throw new Untranslatable(at, 'no other dialect takes video');
  return { kind: 'document', at, source, name: textAt(name, `${at}.displayName`) };
}
