/** A POST for the sinks that are not Stripe, on the platform's own fetch: 10 s at most, no redirects. */
import { NotReached, type Post } from '../billing/delivery/sinks/http-sink.ts';

const POST_MS = 10_000;
const TEXT_CHARS_MAX = 500;
const UNREACHED: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

export const httpPost: Post = async (url, { headers, body }) => {
  try {
    const reply = await fetch(url, {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(POST_MS),
    });
    return {
      status: reply.status,
      retryAfter: reply.headers.get('retry-after') ?? undefined,
      text: (await reply.text()).slice(0, TEXT_CHARS_MAX),
    };
  } catch (error) {
    const cause: unknown = error instanceof Error ? error.cause : undefined;
    const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : '';
    if (UNREACHED.has(code)) throw new NotReached(`${new URL(url).host}: ${code}`, { cause: error });
    throw error;
  }
};
