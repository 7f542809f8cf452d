/** Replies of the image routes: whole, or streamed with pictures on the way to the last one. */
import { isRecord, listOf, parseJson, textOf } from '../../src/usage/json-value.ts';
import { sseData, type SseUnit } from '../../src/usage/sse-scanner.ts';
import { addUsage, type Metered, type Usage, ZERO_TOKENS } from '../../src/usage/usage.ts';
import type { Fate, StreamRules } from '../passage/event-reader.ts';
import { eventType } from '../passage/event-type.ts';
import type { BodyRules, JsonBody } from '../passage/json-reader.ts';
import { mediaTokens, meteredMedia, meteredTokens, unitsLine } from './usage.ts';

/** What OpenAI charges for each picture on the way, by its guide on image generation; the least a cut stream has cost. */
const PARTIAL_IMAGE_TOKENS = 100;

export const imagesBody: BodyRules = {
  meter(body) {
    const tokens = mediaTokens(body['usage'], 'image');
    const images = listOf(body['data']).length;
    if (tokens?.kind === 'counts') return withSvgAuthor(meteredTokens(tokens), body);
    if (images > 0) return meteredMedia(body['usage'], 'image', { images });
    return { kind: 'none', lines: [], reason: 'the reply has no picture and told no usage', failed: true };
  },
  weigh: () => undefined,
};

/** A drawing is written by a language model of its own, whose tokens are told beside. */
function withSvgAuthor(metered: Metered, body: JsonBody): Metered {
  const usage = body['svg_usage'];
  const author = mediaTokens(usage, 'text');
  if (author?.kind !== 'counts' || metered.kind !== 'final' || !isRecord(usage)) return metered;
  const servedModel = textOf(usage['model']) ?? null;
  return { ...metered, lines: [...metered.lines, { ...author.counts, servedModel }] };
}

export class ImagesStreamRules implements StreamRules {
  #partials = 0;
  /** Finished pictures, each with its own report; undefined until the first. */
  #done: Usage | undefined;
  failed = false;
  #reason: string | undefined;

  /** A stream may bring several pictures, so what finishes one waits for the next, or for the end. */
  judge(bytes: Uint8Array, unit: SseUnit): Fate {
    if (unit.dataLines === 0) return 'forward';
    const type = eventType(bytes, unit);
    if (type.endsWith('.partial_image')) this.#partials += 1;
    if (type === 'error') this.failed = true;
    if (!type.endsWith('.completed')) return 'forward';
    const event = parseJson(sseData(bytes, unit));
    const read = isRecord(event) ? mediaTokens(event['usage'], 'image') : undefined;
    if (read?.reason !== undefined) this.#reason = read.reason;
    this.#done = addUsage(
      this.#done ?? ZERO_TOKENS,
      read?.kind === 'counts' ? read.counts : unitsLine({ images: 1 }),
    );
    return 'last';
  }

  complete(): boolean {
    return this.#done !== undefined;
  }

  metered(): Metered {
    if (this.#done !== undefined) {
      return { kind: 'final', lines: [{ ...this.#done, servedModel: null }], reason: this.#reason };
    }
    const reason = 'the stream ended before the picture did';
    if (this.#partials === 0) return { kind: 'none', lines: [], reason, failed: this.failed };
    const imageOutput = this.#partials * PARTIAL_IMAGE_TOKENS;
    return { kind: 'cut', lines: [{ ...ZERO_TOKENS, servedModel: null, imageOutput }], reason };
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return { outputTokens: this.#partials * PARTIAL_IMAGE_TOKENS, deltas: this.#partials };
  }
}
