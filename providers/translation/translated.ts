/**
 * A provider that is asked in another dialect than its own. To the gateway it is a provider like any other: the request
 * is translated before it is prepared, so that what is estimated and metered is what is really sent; the reply is metered
 * by the provider's own reader and told again in the caller's dialect.
 */
import { scanJsonObject } from '../../src/usage/json-scanner.ts';
import type { Endpoint, Provider, ProviderCall } from '../provider.ts';
import { asksUsage } from './chat/read-request.ts';
import { Untranslatable } from './conversation.ts';
import { ASKED, ASKING } from './dialects.ts';
import { bodyOf } from './reading.ts';
import { TranslatedReader } from './translated-reader.ts';

/** Whether a caller of that endpoint can be served by a provider that speaks only others. */
export const isTranslatable = (endpoint: Endpoint): boolean => ASKING.has(endpoint);

/**
 * The provider, asked by callers of `endpoint` in the first of `others` that can say the request. Its methods throw
 * `Untranslatable` where none can.
 */
export function translated(provider: Provider, endpoint: Endpoint, others: readonly Endpoint[]): Provider {
  const natives = new WeakMap<ProviderCall, ProviderCall>();
  const nativeOf = (call: ProviderCall): ProviderCall => {
    const known = natives.get(call);
    if (known !== undefined) return known;
    const native = nativeCall(call, others);
    natives.set(call, native);
    return native;
  };
  return {
    ...provider,
    endpoints: [endpoint],
    prepare(call, upstream) {
      const native = nativeOf(call);
      const exchange = provider.prepare(native, upstream);
      return {
        ...exchange,
        read: (head) => {
          const reader = exchange.read(head);
          return new TranslatedReader({ head, reader, dialects: dialectsOf(call, native), call });
        },
      };
    },
    estimateInput: (call) => provider.estimateInput(nativeOf(call)),
    leastInput: (call) => provider.leastInput(nativeOf(call)),
  };
}

/** What of the caller's headers means the same to every vendor. */
const HEADERS: ReadonlySet<string> = new Set(['user-agent', 'traceparent', 'tracestate']);

function nativeCall(call: ProviderCall, others: readonly Endpoint[]): ProviderCall {
  const conversation = askingOf(call.endpoint).read(call);
  let refused: unknown;
  for (const endpoint of others.map((other) => byStream(other, call.stream))) {
    const { write, path, query } = askedOf(endpoint);
    try {
      const body = encoder.encode(JSON.stringify(write(conversation, call.model)));
      const headers = Object.fromEntries(Object.entries(call.headers).filter(([name]) => HEADERS.has(name)));
      return { ...call, endpoint, body, scan: scanned(body), path, query, headers };
    } catch (error) {
      if (!(error instanceof Untranslatable)) throw error;
      refused ??= error;
    }
  }
  throw refused;
}

const encoder = new TextEncoder();

/** Google has a route of its own for streams. */
const byStream = (endpoint: Endpoint, stream: boolean): Endpoint =>
  stream && endpoint === 'generateContent' ? 'streamGenerateContent' : endpoint;

/** What we wrote is JSON; only its nesting can be more than is allowed, where arguments become objects. */
function scanned(body: Uint8Array): ProviderCall['scan'] {
  const scan = scanJsonObject(body);
  if (scan.kind === 'object') return scan;
  throw new Untranslatable('model', `it cannot be written in the provider's dialect: ${scan.message}`);
}

const dialectsOf = (call: ProviderCall, native: ProviderCall) => ({
  createParser: askedOf(native.endpoint).createParser,
  createWriter: askingOf(call.endpoint).createWriter,
  context: {
    callId: call.id ?? '',
    model: call.model,
    createdS: Math.floor((call.startedAtMs ?? 0) / 1000),
    includeUsage: call.endpoint === 'chat.completions' && asksUsage(bodyOf(call)),
    echo: call.endpoint === 'responses' ? bodyOf(call) : {},
    jsonArray: asksJsonArray(call),
  },
});

/** Gemini's stream is one JSON array unless it is asked for as events. */
function asksJsonArray({ endpoint, query }: ProviderCall): boolean {
  const options = new URLSearchParams(query);
  return endpoint === 'streamGenerateContent' && (options.get('alt') ?? options.get('$alt')) !== 'sse';
}

function askingOf(endpoint: Endpoint) {
  const dialect = ASKING.get(endpoint);
  if (dialect === undefined) throw new Error(`nobody who asks ${endpoint} is translated`);
  return dialect;
}

function askedOf(endpoint: Endpoint) {
  const dialect = ASKED.get(endpoint);
  if (dialect === undefined) throw new Error(`nobody is asked in ${endpoint} by translation`);
  return dialect;
}
