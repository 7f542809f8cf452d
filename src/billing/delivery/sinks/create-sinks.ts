/**
 * Places other than Stripe that get the same usage: a signed webhook, CloudEvents over HTTP, and Metronome's ingest. What
 * goes there is what the `dimensions` layout says; each has events of its own, and its own queue.
 */
import type { MeterEvent } from '../../../ledger/ledger.ts';
import type { Crypto, Runtime } from '../../../runtime.ts';
import type { Transports } from '../../ports.ts';
import { createHttpSink } from './http-sink.ts';
import type { HttpSinkOptions, Post } from './http-sink.ts';

export interface SinkSettings {
  readonly type: 'webhook' | 'cloudevents' | 'metronome';
  /** Null for the vendor's own, which only Metronome has. */
  readonly url: string | null;
  readonly secret: string | null;
}

export interface SinksOptions {
  readonly sinks: ReadonlyMap<string, SinkSettings>;
  readonly post: Post;
  readonly runtime: Pick<Runtime, 'now'>;
  readonly crypto: Pick<Crypto, 'hmac'>;
}

const METRONOME_URL = 'https://api.metronome.com/v1/ingest';
/** Metronome's own bound, and enough for the others. */
const BATCH_MAX = 100;

export function createSinks(options: SinksOptions): ReadonlyMap<string, Transports> {
  return new Map(
    [...options.sinks].map(([name, settings]) => [name, createHttpSink(sinkOf(name, settings, options))]),
  );
}

function sinkOf(
  name: string,
  { type, url, secret }: SinkSettings,
  { post, runtime, crypto }: SinksOptions,
): HttpSinkOptions {
  const bearer = secret === null ? {} : { authorization: `Bearer ${secret}` };
  const base = { name, post, runtime, batchMax: BATCH_MAX };
  switch (type) {
    case 'webhook':
      return {
        ...base,
        url: url ?? '',
        requestOf: (events) => {
          const body = JSON.stringify({ type: 'usage', data: events.map(usageOf) });
          const time = String(Math.floor(runtime.now() / 1000));
          const signature = crypto.hmac(secret ?? '', `${time}.${body}`);
          return {
            headers: {
              'content-type': 'application/json',
              'x-faregate-signature': `t=${time},v1=${signature}`,
            },
            body,
          };
        },
      };
    case 'cloudevents':
      return {
        ...base,
        url: url ?? '',
        requestOf: (events) => ({
          headers: { 'content-type': 'application/cloudevents-batch+json', ...bearer },
          body: JSON.stringify(events.map(cloudEventOf)),
        }),
      };
    case 'metronome':
      return {
        ...base,
        url: url ?? METRONOME_URL,
        requestOf: (events) => ({
          headers: { 'content-type': 'application/json', ...bearer },
          body: JSON.stringify(events.map(metronomeEventOf)),
        }),
      };
  }
}

const timeOf = ({ timestampMs }: MeterEvent): string => new Date(timestampMs).toISOString();

const usageOf = (event: MeterEvent) => ({
  id: event.identifier,
  event_name: event.eventName,
  customer: event.customer,
  model: event.model,
  token_type: event.tokenType,
  value: event.value,
  timestamp: timeOf(event),
});

/** CloudEvents 1.0, in batches as JSON. */
const cloudEventOf = (event: MeterEvent) => ({
  specversion: '1.0',
  id: event.identifier,
  source: 'faregate',
  type: `faregate.usage.${event.eventName}`,
  subject: event.customer,
  time: timeOf(event),
  datacontenttype: 'application/json',
  data: { customer: event.customer, model: event.model, token_type: event.tokenType, value: event.value },
});

/** Metronome knows a `transaction_id` again for 34 days; property values are strings. */
const metronomeEventOf = (event: MeterEvent) => ({
  transaction_id: event.identifier,
  customer_id: event.customer,
  event_type: event.eventName,
  timestamp: timeOf(event),
  properties: { model: event.model, token_type: event.tokenType, value: event.value },
});
