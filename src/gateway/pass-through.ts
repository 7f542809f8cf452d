/** Routes that bill nothing: the call goes to its upstream and the reply back, with no admission and no settlement. */
import { Refusal, refusalReply, requestIdHeaders } from '../errors.ts';
import type { PreparedCall } from './call.ts';
import { replyHeaders, undecoded } from './headers.ts';
import { withoutSecret } from './reply-errors.ts';
import type { CallerReply, Flow, Relay, ReplySink, UpstreamFailure } from './ports.ts';

/** Replies are small (a count, a verdict); past this the upstream is broken off. */
const REPLY_BYTES_MAX = 4 * 1024 * 1024;

export interface PassThroughOptions {
  readonly relay: Relay;
  /** Told once, when the caller has his answer or has left. */
  readonly done: () => void;
}

/** Asks the call's upstream and answers the caller with the whole reply, or with a 502. */
export function passThrough(
  { call, exchange }: PreparedCall,
  reply: CallerReply,
  { relay, done }: PassThroughOptions,
): void {
  const { upstream } = call.target.route;
  const pieces: Uint8Array[] = [];
  let length = 0;
  let head: { status: number; headers: Readonly<Record<string, string>> } | undefined;
  let over = false;

  const answerOnce = (
    status: number,
    headers: Readonly<Record<string, string>>,
    body: readonly Uint8Array[],
  ): void => {
    if (over) return;
    over = true;
    answer(reply, status, headers, body);
    done();
  };
  const refuse = (what: string, code: 'upstream_error' | 'upstream_timeout' = 'upstream_error'): void => {
    flow?.abort();
    const message = `The provider "${upstream.name}" ${what}. The request id is ${call.id}.`;
    const refusal = refusalReply(new Refusal(code, message), call.dialect, call.id);
    answerOnce(refusal.status, refusal.headers, [encoder.encode(refusal.body)]);
  };
  let flow: Flow | undefined;
  const sink: ReplySink = {
    head(status, headers) {
      head = { status, headers };
      if (status >= 300 && status < 400) refuse(`answered with a redirect (${status})`);
      const encoding = undecoded(headers);
      if (encoding !== undefined) refuse(`sent a reply encoded as "${encoding}", which cannot be read`);
    },
    chunk(bytes) {
      length += bytes.length;
      if (length > REPLY_BYTES_MAX) refuse(`sent more than ${REPLY_BYTES_MAX} bytes`);
      else pieces.push(bytes.slice());
      return true;
    },
    end() {
      if (head === undefined) return;
      const headers = { ...replyHeaders(head.headers), ...requestIdHeaders(call.dialect, call.id) };
      // An error may come with a success's status.
      answerOnce(head.status, headers, withoutSecret(pieces, upstream.apiKey));
    },
    fail: (error: UpstreamFailure) =>
      refuse(error.message, error.kind === 'timeout' ? 'upstream_timeout' : 'upstream_error'),
  };
  flow = relay.send(exchange.request, sink, call.target.route.timeouts);
  reply.onGone(() => {
    if (over) return;
    over = true;
    flow.abort();
    done();
  });
}

const encoder = new TextEncoder();

function answer(
  reply: CallerReply,
  status: number,
  headers: Readonly<Record<string, string>>,
  pieces: readonly Uint8Array[],
): void {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  // RFC 9110, 8.6: a 204 has no length.
  reply.head(status, status === 204 ? headers : { ...headers, 'content-length': String(length) });
  for (const piece of pieces) reply.write(piece);
  reply.end();
}
