/** One candidate of a Gemini reply: its parts, its log probabilities and its sources. */
import { isRecord, listOf, textOf } from '../../../src/usage/json-value.ts';
import type { Narration } from '../narration.ts';
import type { Fields } from '../reply-reader.ts';
import type { Citation, TokenLogprob } from '../reply.ts';

/** Of a text so much is remembered, in characters, to find the places that its sources are given for. */
const PLACED_CHARACTERS_MAX = 1024 * 1024;

export class CandidateReader {
  readonly #narration: Narration;
  readonly #choice: number;
  readonly #callId: string;
  #calls = 0;
  #media = 0;
  #text = '';
  /** False once text was interrupted or is too long: places in it are then unknown. */
  #placed = true;
  #grounding: Fields | undefined;

  constructor(narration: Narration, choice: number, callId: string) {
    this.#narration = narration;
    this.#choice = choice;
    this.#callId = callId;
  }

  take(candidate: Fields): void {
    const content = candidate['content'];
    for (const part of listOf(isRecord(content) ? content['parts'] : undefined))
      if (isRecord(part)) this.#takePart(part);
    const logprobs = readLogprobs(candidate['logprobsResult']);
    if (logprobs.length > 0) this.#narration.say(this.#choice, 'text', { text: '', logprobs });
    // Told again with each part, as far as it is known.
    if (isRecord(candidate['groundingMetadata'])) this.#grounding = candidate['groundingMetadata'];
  }

  /** After the last of it. */
  close(): void {
    if (this.#grounding === undefined) return;
    const citations = this.#citations(this.#grounding);
    if (citations.length > 0) this.#narration.open(this.#choice, 'text', { kind: 'text' });
    for (const citation of citations) this.#narration.citation(this.#choice, 'text', citation);
  }

  #takePart(part: Fields): void {
    const { text, thought, functionCall, inlineData } = part;
    const signature = textOf(part['thoughtSignature']);
    if (isRecord(functionCall)) this.#call(functionCall, signature);
    else if (thought === true) this.#think(text, signature);
    else if (isRecord(inlineData)) this.#takeMedia(inlineData);
    else if (typeof text === 'string') this.#say(text);
    // A signature of a text is advice to its vendor alone, and no dialect has a place for it. The vendor's own tools
    // (code that it ran) cannot have been asked for in another dialect.
  }

  #call({ id, name, args }: Fields, signature: string | undefined): void {
    const number = this.#calls;
    const lane = `call ${number}`;
    this.#calls += 1;
    this.#narration.open(this.#choice, lane, {
      kind: 'tool_call',
      id: textOf(id) ?? `call_${this.#callId}_${this.#choice}_${number}`,
      name: textOf(name) ?? '',
      ...(signature === undefined ? {} : { signature }),
    });
    this.#narration.delta(this.#choice, lane, { text: JSON.stringify(args ?? {}) });
    this.#narration.done(this.#choice, lane);
    this.#interrupt();
  }

  #think(text: unknown, signature: string | undefined): void {
    this.#narration.open(this.#choice, 'reasoning', { kind: 'reasoning', vendor: 'google' });
    this.#narration.delta(this.#choice, 'reasoning', { text: typeof text === 'string' ? text : '' });
    if (signature !== undefined) this.#narration.signature(this.#choice, 'reasoning', signature);
    this.#interrupt();
  }

  #takeMedia({ mimeType, data }: Fields): void {
    const base64 = textOf(data);
    if (base64 === undefined) return;
    this.#media += 1;
    this.#narration.open(this.#choice, `media ${this.#media}`, {
      kind: 'media',
      mediaType: textOf(mimeType) ?? 'application/octet-stream',
      base64,
    });
    this.#interrupt();
  }

  #say(text: string): void {
    this.#narration.say(this.#choice, 'text', { text });
    if (this.#text.length + text.length > PLACED_CHARACTERS_MAX) this.#placed = false;
    if (this.#placed) this.#text += text;
  }

  #interrupt(): void {
    if (this.#text !== '') this.#placed = false;
  }

  #citations(grounding: Fields): readonly Citation[] {
    const sources = listOf(grounding['groundingChunks']).map((chunk) => sourceOf(chunk));
    const supports = listOf(grounding['groundingSupports']).filter((support) => isRecord(support));
    if (supports.length === 0)
      return sources.flatMap((source) =>
        source === undefined ? [] : [{ ...source, start: undefined, end: undefined }],
      );
    const bytes = new TextEncoder().encode(this.#text);
    return supports.flatMap((support) => {
      const segment = isRecord(support['segment']) ? support['segment'] : {};
      const start = this.#place(bytes, segment['startIndex'] ?? 0);
      const end = this.#place(bytes, segment['endIndex']);
      return listOf(support['groundingChunkIndices']).flatMap((index) => {
        const source = typeof index === 'number' ? sources[index] : undefined;
        return source === undefined ? [] : [{ ...source, start, end }];
      });
    });
  }

  /** The vendor counts bytes, everyone else characters. */
  #place(bytes: Uint8Array, offset: unknown): number | undefined {
    if (!this.#placed || typeof offset !== 'number' || !(offset >= 0 && offset <= bytes.length))
      return undefined;
    return new TextDecoder().decode(bytes.subarray(0, offset)).length;
  }
}

function sourceOf(chunk: unknown): { readonly url: string; readonly title: string | undefined } | undefined {
  const web = isRecord(chunk) ? (chunk['web'] ?? chunk['retrievedContext'] ?? chunk['maps']) : undefined;
  const url = isRecord(web) ? textOf(web['uri']) : undefined;
  return url === undefined || !isRecord(web) ? undefined : { url, title: textOf(web['title']) };
}

function readLogprobs(result: unknown): readonly TokenLogprob[] {
  if (!isRecord(result)) return [];
  const tops = listOf(result['topCandidates']);
  return listOf(result['chosenCandidates']).flatMap((chosen, index) => {
    const token = readToken(chosen);
    const place = tops[index];
    const top = listOf(isRecord(place) ? place['candidates'] : undefined).map((one) => readToken(one));
    return token === undefined ? [] : [{ ...token, top: top.filter((one) => one !== undefined) }];
  });
}

function readToken(candidate: unknown): Omit<TokenLogprob, 'top'> | undefined {
  if (!isRecord(candidate)) return undefined;
  const { token, logProbability } = candidate;
  if (typeof token !== 'string' || typeof logProbability !== 'number') return undefined;
  return { token, logprob: logProbability, bytes: null };
}
