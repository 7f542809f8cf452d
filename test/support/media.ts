/**
 * A vendor of pictures and sound for tests, over real HTTP. The model's name says how it behaves: `gpt-…` report tokens,
 * `whisper-1` seconds, `tts-1` and `dall-e-3` nothing; `cut` breaks off.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listening } from '../../src/simulator/http.ts';

export interface MediaRequest {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** The fields of the form or of the JSON; a file is given by its length. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface TestMedia {
  /** With its version. */
  readonly url: string;
  readonly seen: MediaRequest[];
  /** Lets the sound that waits (`tts-waits`) go on. */
  release(): void;
  close(): Promise<void>;
}

export const PIXEL = 'iVBORw0KGgo=';
const IMAGE_USAGE = {
  input_tokens: 50,
  output_tokens: 1056,
  total_tokens: 1106,
  input_tokens_details: { text_tokens: 10, image_tokens: 40 },
};
const SOUND_USAGE = {
  type: 'tokens',
  input_tokens: 37,
  output_tokens: 12,
  total_tokens: 49,
  input_token_details: { text_tokens: 2, audio_tokens: 35 },
};
export const SPOKEN = 'The fare is paid at the gate.';

export async function startTestMedia(): Promise<TestMedia> {
  const seen: MediaRequest[] = [];
  const waiting = Promise.withResolvers<void>();
  const http = listening(
    createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const path = new URL(request.url ?? '/', 'http://vendor').pathname;
      const fields = await fieldsOf(request, Buffer.concat(pieces));
      seen.push({ path, headers: request.headers, fields });
      await answer({ path, fields, response, waits: waiting.promise });
    }),
  );
  return {
    url: `${await http.listen()}/v1`,
    seen,
    release: () => waiting.resolve(),
    close: () => http.close(),
  };
}

async function fieldsOf(request: IncomingMessage, body: Buffer): Promise<Record<string, unknown>> {
  const contentType = request.headers['content-type'] ?? '';
  if (!contentType.startsWith('multipart/')) return JSON.parse(body.toString()) as Record<string, unknown>;
  const form = await new Response(new Uint8Array(body), {
    headers: { 'content-type': contentType },
  }).formData();
  const fields: Record<string, unknown> = {};
  for (const [name, value] of form.entries()) fields[name] = typeof value === 'string' ? value : value.size;
  return fields;
}

interface Asked {
  readonly path: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly response: ServerResponse;
  readonly waits: Promise<void>;
}

async function answer(asked: Asked): Promise<void> {
  const { path, fields, response } = asked;
  const model = String(fields['model'] ?? '');
  const streams = fields['stream'] === true || fields['stream'] === 'true';
  if (model === 'refuses') {
    return json(response, { error: { message: 'No.', type: 'invalid_request_error' } }, 400);
  }
  switch (path) {
    case '/v1/images/generations':
    case '/v1/images/edits': {
      const name = path.endsWith('edits') ? 'image_edit' : 'image_generation';
      return streams ? streamed(response, imageEvents(name), model) : json(response, images(model, fields));
    }
    case '/v1/audio/speech':
      return fields['stream_format'] === 'sse'
        ? streamed(response, speechEvents(), model)
        : sound(asked, model);
    case '/v1/audio/transcriptions':
    case '/v1/audio/translations':
      return streams ? streamed(response, transcriptEvents(), model) : transcript(response, model, fields);
    default:
      response.writeHead(404).end('{}');
  }
}

const images = (model: string, fields: Asked['fields']): object => ({
  created: 1_700_000_000,
  data: Array.from({ length: Number(fields['n'] ?? 1) }, () => ({ b64_json: PIXEL })),
  ...(model.startsWith('gpt-') ? { usage: IMAGE_USAGE } : {}),
});

const imageEvents = (name: string): object[] => [
  { type: `${name}.partial_image`, partial_image_index: 0, b64_json: PIXEL },
  { type: `${name}.partial_image`, partial_image_index: 1, b64_json: PIXEL },
  { type: `${name}.completed`, b64_json: PIXEL, usage: IMAGE_USAGE },
];

const speechEvents = (): object[] => [
  { type: 'speech.audio.delta', audio: 'AAEC' },
  { type: 'speech.audio.done', usage: { input_tokens: 14, output_tokens: 101, total_tokens: 115 } },
];

async function sound({ response, waits }: Asked, model: string): Promise<void> {
  response.writeHead(200, { 'content-type': 'audio/mpeg', 'transfer-encoding': 'chunked' });
  response.write(Buffer.from([0xff, 0xfb, 0x00]));
  if (model === 'tts-waits') await waits;
  if (model.endsWith('cut')) {
    await new Promise((resolve) => setImmediate(resolve));
    return void response.destroy();
  }
  response.end(Buffer.from([0x01, 0x02]));
}

function transcript(response: ServerResponse, model: string, fields: Asked['fields']): void {
  const text = (body: string): void =>
    void response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(body);
  switch (fields['response_format']) {
    case 'text':
      return text(`${SPOKEN}\n`);
    case 'srt':
      return text(`1\n00:00:00,000 --> 00:01:03,250\n${SPOKEN}\n\n`);
    case 'vtt':
      return text(`WEBVTT\n\n00:00.000 --> 00:03.250\n${SPOKEN}\n\n`);
    case 'verbose_json':
      return json(response, { task: 'transcribe', duration: 3.25, text: SPOKEN, segments: [] });
  }
  const usage = model.startsWith('gpt-') ? SOUND_USAGE : { type: 'duration', seconds: 4 };
  json(response, { text: SPOKEN, ...(model === 'silent' ? {} : { usage }) });
}

const transcriptEvents = (): object[] => [
  ...SPOKEN.split(/(?= )/).map((delta) => ({ type: 'transcript.text.delta', delta })),
  { type: 'transcript.text.done', text: SPOKEN, usage: SOUND_USAGE },
];

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function streamed(response: ServerResponse, events: readonly object[], model: string): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const until = model.endsWith('cut') ? events.length - 1 : events.length;
  for (const event of events.slice(0, until)) {
    response.write(`data: ${JSON.stringify(event)}\n\n`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (until < events.length) response.destroy();
  else response.end('data: [DONE]\n\n');
}
