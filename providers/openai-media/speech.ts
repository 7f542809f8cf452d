/**
 * Replies of the speech route. Sound goes to the caller as it comes, with nothing in it that says what it cost: the
 * characters that were to be read are what vendors charge for. As events it may end with a report of tokens.
 */
import { isRecord, parseJson } from '../../src/usage/json-value.ts';
import { sseData, type SseUnit } from '../../src/usage/sse-scanner.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { Fate, StreamRules } from '../passage/event-reader.ts';
import { carriesError, errorReason } from '../passage/counts.ts';
import { eventType } from '../passage/event-type.ts';
import type { BodyRules } from '../passage/json-reader.ts';
import type { ResponseReader } from '../provider.ts';
import { estimatedUnits, meteredMedia, meteredUnits } from './usage.ts';

/** Characters as a person counts them: a surrogate pair is one. */
export function charactersOf(text: unknown): number {
  if (typeof text !== 'string') return 0;
  let characters = text.length;
  for (let index = 1; index < text.length; index += 1) {
    const isLow = text.charCodeAt(index) >> 10 === 0x37;
    if (isLow && text.charCodeAt(index - 1) >> 10 === 0x36) characters -= 1;
  }
  return characters;
}

/** Sound, passed on at once. */
export class SoundReader implements ResponseReader {
  readonly streams = true;
  readonly terminal = false;
  /** Sound has no sign of its own for its end but the end of the reply. */
  readonly complete = true;
  readonly #characters: number;
  #heard = false;
  #ended = false;

  constructor(characters: number) {
    this.#characters = characters;
  }

  write(chunk: Uint8Array): readonly Uint8Array[] {
    this.#heard ||= chunk.length > 0;
    return [chunk];
  }

  end(): readonly Uint8Array[] {
    this.#ended = true;
    return [];
  }

  metered(): Metered {
    if (!this.#heard) return { kind: 'none', lines: [], reason: 'the reply was empty', failed: true };
    const units = { characters: this.#characters };
    return this.#ended ? meteredUnits(units) : estimatedUnits(units, 'the reply broke off');
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return { outputTokens: 0, deltas: 0 };
  }

  /** Into sound no error can be written: the break of the connection says it. */
  errorFrame(): string {
    return '';
  }
}

/** Some vendors answer with the sound in a JSON reply. */
export const speechBody = (characters: number): BodyRules => ({
  meter(body) {
    if (carriesError(body))
      return { kind: 'none', lines: [], reason: errorReason(body['error']), failed: true };
    return meteredMedia(body['usage'], 'audio', { characters });
  },
  weigh: () => undefined,
});

export class SpeechStreamRules implements StreamRules {
  readonly #characters: number;
  #metered: Metered | undefined;
  #deltas = 0;
  failed = false;

  constructor(characters: number) {
    this.#characters = characters;
  }

  judge(bytes: Uint8Array, unit: SseUnit): Fate {
    if (unit.dataLines === 0) return 'forward';
    const type = eventType(bytes, unit);
    if (type.endsWith('.delta')) this.#deltas += 1;
    if (type === 'error') this.failed = true;
    if (!type.endsWith('audio.done')) return 'forward';
    const event = parseJson(sseData(bytes, unit));
    const usage = isRecord(event) ? event['usage'] : undefined;
    this.#metered = meteredMedia(usage, 'audio', { characters: this.#characters });
    return 'terminal';
  }

  metered(): Metered {
    if (this.#metered !== undefined) return this.#metered;
    const reason = 'the stream told no usage';
    if (this.#deltas === 0) return { kind: 'none', lines: [], reason, failed: this.failed };
    return estimatedUnits({ characters: this.#characters }, reason);
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return { outputTokens: 0, deltas: this.#deltas };
  }
}
