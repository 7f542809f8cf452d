/** The routes for pictures and sound: how each one's reply is read. */
import { memberValue } from '../../src/usage/json-scanner.ts';
import { EventReader, type StreamRules } from '../passage/event-reader.ts';
import { JsonReader, type BodyRules, isSuccess } from '../passage/json-reader.ts';
import { isEventStream } from '../passage/request.ts';
import type { Endpoint, ProviderCall, ResponseReader, UpstreamHead } from '../provider.ts';
import { imagesBody, ImagesStreamRules } from './images.ts';
import { charactersOf, SoundReader, speechBody, SpeechStreamRules } from './speech.ts';
import { TranscriptReader, TranscriptStreamRules } from './transcripts.ts';

export interface MediaRoute {
  /** After the base URL. */
  readonly path: string;
  read(call: ProviderCall, head: UpstreamHead): ResponseReader;
}

const typeOf = (head: UpstreamHead): string => (head.headers['content-type'] ?? '').toLowerCase();

/** A failure is JSON or anything else, and costs nothing; a stream says that it is one, or shows it where all else is JSON. */
function readerOf(
  head: UpstreamHead,
  forms: {
    readonly stream: () => StreamRules;
    readonly body: BodyRules;
    readonly whole?: () => ResponseReader;
  },
): ResponseReader {
  if (!isSuccess(head.status)) return new JsonReader(head, forms.body);
  const streams =
    forms.whole === undefined ? isEventStream(head, false) : typeOf(head).includes('event-stream');
  if (streams) return new EventReader(forms.stream());
  return forms.whole?.() ?? new JsonReader(head, forms.body);
}

const images = (path: string): MediaRoute => ({
  path,
  read: (_call, head) => readerOf(head, { stream: () => new ImagesStreamRules(), body: imagesBody }),
});

const transcripts = (path: string): MediaRoute => ({
  path,
  read: (_call, head) =>
    readerOf(head, {
      stream: () => new TranscriptStreamRules(),
      body: imagesBody,
      whole: () => new TranscriptReader(),
    }),
});

const speech: MediaRoute = {
  path: '/audio/speech',
  read(call, head) {
    const characters = charactersOf(memberValue(call.body, call.scan, 'input'));
    const body = speechBody(characters);
    const isJson = typeOf(head).includes('json');
    return readerOf(head, {
      stream: () => new SpeechStreamRules(characters),
      body,
      whole: () => (isJson ? new JsonReader(head, body) : new SoundReader(characters)),
    });
  },
};

export const MEDIA_ROUTES: ReadonlyMap<Endpoint, MediaRoute> = new Map<Endpoint, MediaRoute>([
  ['images.generations', images('/images/generations')],
  ['images.edits', images('/images/edits')],
  ['audio.speech', speech],
  ['audio.transcriptions', transcripts('/audio/transcriptions')],
  ['audio.translations', transcripts('/audio/translations')],
]);
