/**
 * As much of Stripe as the gateway meets: it knows an identifier for 24 hours of its own clock, counts what it takes, and
 * answers in every way that Stripe, a proxy or a network can. It stands where the official package's client does, so the
 * gateway's own reading of answers is under test too. It answers when it is told to, one request at a time.
 */
import { Stripe } from 'stripe';
import type { Clock, Owner } from './clock.ts';
import type { Dice } from './dice.ts';

const DAY_MS = 86_400_000;
/** A request that was given up on arrives so late at most. */
const WANDERS_MS = 60_000;

export type Weather =
  | 'well'
  | 'busy'
  | 'contended'
  /** 500, with and without the event taken. */
  | 'broken'
  /** The connection drops, with and without. */
  | 'dropping'
  /** No answer, until the client gives up; the request may arrive later. */
  | 'silent'
  | 'unreachable'
  /** The key is revoked, or may not do this. */
  | 'unauthorised'
  | 'forbidden'
  /** Takes it, and says later that it does not count. */
  | 'fickle';
export const WEATHERS: readonly Weather[] = [
  'well',
  'well',
  'busy',
  'contended',
  'broken',
  'dropping',
  'dropping',
  'silent',
  'silent',
  'unreachable',
  'unauthorised',
  'forbidden',
  'fickle',
];

/** An event as it came in. */
export interface Taken {
  readonly identifier: string;
  readonly customer: string;
  readonly model: string;
  readonly tokenType: string;
  readonly value: number;
  readonly timestampMs: number;
}

interface Known {
  readonly event: Taken;
  takenAtMs: number;
  /** Times it was counted, and not taken back. */
  counted: number;
}

/** A webhook that Stripe has to tell. */
export interface News {
  readonly id: string;
  readonly text: string;
  /** Of a thin event: what a look-up answers. */
  readonly object: unknown;
  readonly notBeforeMs: number;
}

interface Request {
  readonly owner: Owner;
  readonly what: string;
  /** Until then the network may keep it. */
  readonly untilMs: number;
  readonly serve: () => unknown;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export interface StripeOptions {
  readonly clock: Clock;
  readonly dice: Dice;
  readonly note: (what: string) => void;
}

export class SimulatedStripe {
  weather: Weather = 'well';
  archived = false;
  readonly deleted = new Set<string>();
  /** By identifier; an entry is overwritten once Stripe has forgotten it, which is what a late repeat counts on. */
  readonly known = new Map<string, Known>();
  /** Tokens counted by `customer model type`. */
  readonly counted = new Map<string, number>();
  news: News[] = [];
  /** Rises with everything that is counted or taken back. */
  version = 0;
  #pending: Request[] = [];
  #wandering: Request[] = [];
  #newsCount = 0;
  readonly #options: StripeOptions;

  constructor(options: StripeOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#pending.length;
  }

  timesCounted(identifier: string): number {
    return this.known.get(identifier)?.counted ?? 0;
  }

  /** The client of one process. */
  clientOf(owner: Owner): Stripe {
    const ask = (what: string, serve: () => unknown): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const untilMs = this.#options.clock.trueMs + WANDERS_MS;
        this.#pending.push({ owner, what, untilMs, serve, resolve, reject });
      });
    const session = (): object => {
      const created = new Date(this.#options.clock.trueMs).toISOString();
      const expires = new Date(this.#options.clock.trueMs + 900_000).toISOString();
      return { authentication_token: 'token', created, expires_at: expires };
    };
    const client = {
      customers: {
        retrieve: (id: string) => ask(`customer ${id}`, () => ({ id, deleted: this.deleted.has(id) })),
      },
      billing: {
        meterEvents: {
          create: (params: Sent) => ask(`v1 ${params.identifier}`, () => this.#one(params, 'v1')),
        },
      },
      v2: {
        billing: {
          meterEvents: {
            create: (params: Sent) => ask(`v2 ${params.identifier}`, () => this.#one(params, 'v2')),
          },
          meterEventSession: { create: () => ask('session', session) },
          meterEventStream: {
            create: ({ events }: { events: readonly Sent[] }) =>
              ask(`stream ${events.length}`, () => {
                for (const event of events) this.#streamed(event);
                return {};
              }),
          },
        },
        core: { events: { retrieve: (id: string) => ask(`event ${id}`, () => this.#newsOf(id)) } },
      },
    };
    return client as unknown as Stripe;
  }

  /** Answers one request as the weather has it. */
  answer(): void {
    const { dice, clock, note } = this.#options;
    this.#arriveLate();
    this.#pending = this.#pending.filter(({ untilMs }) => untilMs > clock.trueMs);
    const at = dice.chance(0.3) ? dice.below(this.#pending.length) : 0;
    const [request] = this.#pending.splice(at, 1);
    if (request === undefined) return;
    const weather = this.weather !== 'well' && dice.chance(0.15) ? 'well' : this.weather;
    note(`stripe ${request.what} ${weather}`);
    const alsoTaken = dice.chance(0.5);
    const taken = (): void => {
      if (!alsoTaken) return;
      try {
        request.serve();
      } catch (error) {
        if (!(error instanceof Stripe.errors.StripeError)) throw error;
      }
    };
    switch (weather) {
      case 'well':
      case 'fickle':
        this.#serve(request);
        return;
      case 'silent':
        if (dice.chance(0.4)) taken();
        else if (alsoTaken) this.#wandering.push(request);
        return;
      case 'broken':
      case 'dropping':
        taken();
        request.reject(errorOf(weather));
        return;
      default:
        request.reject(errorOf(weather));
    }
  }

  /** What a dead process had asked arrives, or does not. */
  leftBehind(owner: Owner): void {
    const { dice } = this.#options;
    const orphans = this.#pending.filter((request) => request.owner === owner);
    this.#pending = this.#pending.filter((request) => request.owner !== owner);
    for (const request of orphans) if (dice.chance(0.5)) this.#wandering.push(request);
  }

  /** Requests on the way arrive, but for those that no network keeps so long. */
  #arriveLate(): void {
    const { dice, clock } = this.#options;
    const arriving = this.#wandering.filter(() => dice.chance(0.3));
    this.#wandering = this.#wandering.filter((one) => !arriving.includes(one) && one.untilMs > clock.trueMs);
    for (const request of arriving) {
      if (request.untilMs <= clock.trueMs) continue;
      this.#options.note(`late ${request.what}`);
      try {
        request.serve();
      } catch (error) {
        if (!(error instanceof Stripe.errors.StripeError)) throw error;
      }
    }
  }

  #serve(request: Request): void {
    try {
      request.resolve(request.serve());
    } catch (error) {
      request.reject(error);
    }
  }

  /** v1 and v2 check at once. */
  #one(params: Sent, api: 'v1' | 'v2'): object {
    const event = takenFrom(params);
    const problem = this.#problemOf(event);
    if (problem !== undefined) throw refused(problem, 'The meter or the customer is not there.');
    if (!this.#take(event)) throw duplicate(event.identifier, api);
    return { identifier: event.identifier };
  }

  /** The stream checks later. */
  #streamed(params: Sent): void {
    const event = takenFrom(params);
    const problem = this.#problemOf(event);
    if (this.#take(event) && problem !== undefined) this.#takeBack(event.identifier, problem);
  }

  #problemOf({ customer }: Taken): string | undefined {
    if (this.archived) return 'archived_meter';
    return this.deleted.has(customer) ? 'meter_event_customer_not_found' : undefined;
  }

  /** False for an identifier that is known. */
  #take(event: Taken): boolean {
    const { clock, dice } = this.#options;
    const before = this.known.get(event.identifier);
    if (before !== undefined && clock.trueMs - before.takenAtMs < DAY_MS) return false;
    this.known.set(event.identifier, { event, takenAtMs: clock.trueMs, counted: (before?.counted ?? 0) + 1 });
    this.#add(event, event.value);
    if (this.weather === 'fickle' && dice.chance(0.3)) this.#takeBack(event.identifier, 'archived_meter');
    return true;
  }

  #takeBack(identifier: string, code: string): void {
    const known = this.known.get(identifier);
    if (known === undefined || known.counted === 0) return;
    known.counted -= 1;
    this.#add(known.event, -known.event.value);
    this.reject(identifier, code);
  }

  /** Says, in a thin event that must be fetched, that an event was not counted. */
  reject(identifier: string, code: string): void {
    const id = `evt_${(this.#newsCount += 1)}`;
    const type = 'v1.billing.meter.error_report_triggered';
    const samples = [{ error_message: 'not counted', request: { identifier } }];
    const reason = { error_count: 1, error_types: [{ code, error_count: 1, sample_errors: samples }] };
    const data = { developer_message_summary: 'One event failed.', reason };
    const thin = {
      object: 'v2.core.event',
      id,
      type,
      created: new Date(this.#options.clock.trueMs).toISOString(),
    };
    this.news.push({
      id,
      text: JSON.stringify(thin),
      object: { ...thin, data },
      notBeforeMs: this.#options.clock.trueMs + WANDERS_MS,
    });
  }

  /** A snapshot event about a customer. */
  tell(type: string, object: object): void {
    const id = `evt_${(this.#newsCount += 1)}`;
    const created = Math.floor(this.#options.clock.trueMs / 1000);
    const text = JSON.stringify({ object: 'event', id, type, created, data: { object } });
    this.news.push({ id, text, object: undefined, notBeforeMs: 0 });
  }

  #newsOf(id: string): unknown {
    const found = this.news.find((one) => one.id === id);
    if (found === undefined) throw refused('resource_missing', 'No such event.');
    return found.object;
  }

  #add({ customer, model, tokenType }: Taken, value: number): void {
    this.version += 1;
    const key = `${customer} ${model} ${tokenType}`;
    this.counted.set(key, (this.counted.get(key) ?? 0) + value);
  }
}

interface Sent {
  readonly identifier: string;
  readonly timestamp: string | number;
  readonly payload: Readonly<Record<string, string>>;
}

const takenFrom = ({ identifier, timestamp, payload }: Sent): Taken => ({
  identifier,
  customer: payload['stripe_customer_id'] ?? '',
  model: payload['model'] ?? '',
  tokenType: payload['token_type'] ?? '',
  value: Number(payload['value']),
  timestampMs: typeof timestamp === 'number' ? timestamp * 1000 : Date.parse(timestamp),
});

const { errors } = Stripe;
type Raw = NonNullable<ConstructorParameters<typeof errors.StripeInvalidRequestError>[0]>;
const raw = (statusCode: number | undefined, message: string, more: Partial<Raw> = {}): Raw =>
  ({ statusCode, message, headers: {}, requestId: 'req_sim', ...more }) as Raw;

const refused = (code: string, message: string): Error =>
  new errors.StripeInvalidRequestError(
    raw(400, message, { code, type: 'invalid_request_error' } as Partial<Raw>),
  );

const duplicate = (identifier: string, api: 'v1' | 'v2'): Error =>
  api === 'v2'
    ? refused('duplicate_meter_event', 'A meter event with this identifier exists.')
    : new errors.StripeInvalidRequestError(
        raw(400, `An event already exists with identifier ${identifier}.`, {
          type: 'invalid_request_error',
        } as Partial<Raw>),
      );

function errorOf(weather: Exclude<Weather, 'well' | 'fickle' | 'silent'>): Error {
  switch (weather) {
    case 'busy':
      return new errors.StripeRateLimitError(
        raw(429, 'Too many requests.', { headers: { 'retry-after': '1' } }),
      );
    case 'contended':
      return new errors.StripeAPIError(raw(409, 'Another request is under way.'));
    case 'broken':
      return new errors.StripeAPIError(raw(500, 'Something went wrong.'));
    case 'dropping':
      return new errors.StripeConnectionError(raw(undefined, 'The connection was closed.'));
    case 'unreachable':
      return new errors.StripeConnectionError(
        raw(undefined, 'Nobody there.', { detail: { code: 'ECONNREFUSED' } } as unknown as Partial<Raw>),
      );
    case 'unauthorised':
      return new errors.StripeAuthenticationError(raw(401, 'The key was revoked.'));
    case 'forbidden':
      return new errors.StripePermissionError(raw(403, 'The key may not do this.'));
  }
}
