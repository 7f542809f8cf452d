/**
 * Replies of the transcription and translation routes: JSON, plain text or subtitles, held whole until they are settled,
 * or a stream. Tokens or seconds are as reported; a reply that tells neither is estimated in seconds.
 */
import { JsonReply } from '../../src/usage/json-reply.ts';
import { isRecord, listOf, parseJson } from '../../src/usage/json-value.ts';
import { sseData, type SseUnit } from '../../src/usage/sse-scanner.ts';
import { textQuarters } from '../../src/usage/text-estimate.ts';
import type { Metered } from '../../src/usage/usage.ts';
import type { Fate, StreamRules } from '../passage/event-reader.ts';
import { carriesError } from '../passage/counts.ts';
import { eventType } from '../passage/event-type.ts';
import type { JsonBody } from '../passage/json-reader.ts';
import { Tally } from '../passage/tally.ts';
import type { ResponseReader } from '../provider.ts';
import {
  estimatedUnits,
  mediaTokens,
  meteredTokens,
  meteredUnits,
  reportedSeconds,
  wholeSeconds,
} from './usage.ts';

/** People say some 150 words of six characters a minute. */
const CHARACTERS_A_SECOND = 15;

/** A successful reply in whichever format was asked for. */
export class TranscriptReader implements ResponseReader {
  readonly streams = false;
  readonly terminal = false;
  readonly complete = true;
  readonly #reply = new JsonReply();
  #metered: Metered = { kind: 'none', lines: [], reason: 'the reply broke off' };
  #ended = false;

  write(chunk: Uint8Array): readonly Uint8Array[] {
    this.#reply.write(chunk);
    return [];
  }

  end(): readonly Uint8Array[] {
    if (!this.#ended) this.#metered = meterTranscript(this.#reply.text());
    this.#ended = true;
    return this.#reply.release();
  }

  metered(): Metered {
    return this.#metered;
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return { outputTokens: 0, deltas: 0 };
  }
}

function meterTranscript(text: string): Metered {
  const body = parseJson(text);
  if (isRecord(body)) return meterBody(body);
  const told = lastTimestamp(text);
  if (told !== undefined) return estimatedUnits({ seconds: told }, 'seconds by the last subtitle');
  return bySpokenText(typeof body === 'string' ? body : text);
}

function meterBody(body: JsonBody): Metered {
  const tokens = mediaTokens(body['usage'], 'text');
  if (tokens?.kind === 'counts') return meteredTokens(tokens);
  const seconds = reportedSeconds(body['usage']) ?? wholeSeconds(body['duration']);
  if (seconds !== undefined) return meteredUnits({ seconds });
  if (carriesError(body))
    return { kind: 'none', lines: [], reason: 'the reply carries an error', failed: true };
  const ends = listOf(body['segments']).map((segment) =>
    wholeSeconds(isRecord(segment) ? segment['end'] : null),
  );
  const last = Math.max(0, ...ends.map((end) => end ?? 0));
  if (last > 0) return estimatedUnits({ seconds: last }, 'seconds by the last segment');
  return bySpokenText(typeof body['text'] === 'string' ? body['text'] : '');
}

const bySpokenText = (text: string): Metered =>
  estimatedUnits(
    { seconds: Math.max(1, Math.ceil(text.trim().length / CHARACTERS_A_SECOND)) },
    'the reply told neither tokens nor a duration: seconds by the length of its text',
  );

/** The end of the last subtitle, in begun seconds: `00:01:02,500` of SRT, `01:02.500` of WebVTT. */
function lastTimestamp(text: string): number | undefined {
  const last = [...text.matchAll(/-->[ \t]*(?:(\d{1,4}):)?(\d{2}):(\d{2})[,.](\d{3})/g)].at(-1);
  if (last === undefined) return undefined;
  const [, hours = '0', minutes = '0', seconds = '0', milliseconds = '0'] = last;
  return Math.ceil(
    Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds) + Number(milliseconds) / 1000,
  );
}

/** OpenAI's `transcript.text.*` and Mistral's `transcription.*`; speakers come as segments, in place of deltas. */
export class TranscriptStreamRules implements StreamRules {
  readonly #deltas = new Tally();
  readonly #segments = new Tally();
  #metered: Metered | undefined;
  failed = false;

  judge(bytes: Uint8Array, unit: SseUnit): Fate {
    if (unit.dataLines === 0) return 'forward';
    const type = eventType(bytes, unit);
    if (type === 'error') this.failed = true;
    if (!/^transcript(?:ion)?\./.test(type)) return 'forward';
    const parsed = parseJson(sseData(bytes, unit));
    const event = isRecord(parsed) ? parsed : {};
    const said = event['delta'] ?? event['text'];
    const weight = typeof said === 'string' ? textQuarters(said) : 0;
    if (type.endsWith('.delta')) this.#deltas.add(weight);
    if (type.endsWith('.segment')) this.#segments.add(weight);
    if (!type.endsWith('.done')) return 'forward';
    this.#metered = meterDone(event);
    return 'terminal';
  }

  metered(): Metered {
    return (
      this.#metered ?? { kind: 'none', lines: [], reason: 'the stream told no usage', failed: this.failed }
    );
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    const [said, spoken] = [this.#deltas.estimate(), this.#segments.estimate()];
    return said.outputTokens >= spoken.outputTokens ? said : spoken;
  }
}

function meterDone(event: JsonBody): Metered {
  const tokens = mediaTokens(event['usage'], 'text');
  if (tokens?.kind === 'counts') return meteredTokens(tokens);
  const seconds = reportedSeconds(event['usage']);
  if (seconds !== undefined) return meteredUnits({ seconds });
  return { kind: 'none', lines: [], reason: 'the stream told no usage' };
}
