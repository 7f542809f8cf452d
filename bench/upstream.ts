/**
 * The provider of the benchmark: answers at once, with JSON or with a stream of 50 chunks. A stream comes as fast as it can
 * be written, or, for a model named `apart`, each chunk in a segment of its own, as tokens come that take time to make.
 */
import { createServer } from 'node:http';

const usage = { prompt_tokens: 12, completion_tokens: 50, total_tokens: 62 };
const base = { id: 'chatcmpl-bench', created: 1_700_000_000, model: 'gpt-4o-mini-2024-07-18' };
const reply = JSON.stringify({
  ...base,
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: 'word '.repeat(50) }, finish_reason: 'stop' }],
  usage,
});
const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`;
const chunk = (content: string): string =>
  event({
    ...base,
    object: 'chat.completion.chunk',
    system_fingerprint: 'fp_bench',
    choices: [{ index: 0, delta: { content }, logprobs: null, finish_reason: null }],
    usage: null,
  });
const chunks = Array.from({ length: 50 }, (_, index) => chunk(`word${index} `));
const tail = `${event({ ...base, object: 'chat.completion.chunk', choices: [], usage })}data: [DONE]\n\n`;

const server = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces).toString();
    if (!body.includes('"stream":true')) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(reply);
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (!body.includes('apart')) {
      for (const piece of chunks) response.write(piece);
      response.end(tail);
      return;
    }
    let index = 0;
    const next = (): void => {
      const piece = chunks[index++];
      if (piece === undefined) {
        response.end(tail);
        return;
      }
      response.write(piece);
      setImmediate(next);
    };
    next();
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const address = server.address();
  console.log(JSON.stringify({ port: typeof address === 'object' && address !== null ? address.port : 0 }));
});
