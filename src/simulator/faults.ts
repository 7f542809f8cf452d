/** Faults to order: what goes wrong, on which route, how often. The same seed goes wrong in the same places. */
import { z } from 'zod';

export const FAULT_KINDS = [
  'rate_limited',
  'conflict',
  'server_error',
  'server_error_after_commit',
  'drop',
  'drop_after_commit',
  'slow',
  'unauthorized',
  'forbidden',
  'not_found',
  'proxy',
  'reject_later',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

const faultSchema = z.strictObject({
  /** `*` stands for anything: `POST /v2/billing/*`; without a method, every method. */
  route: z.string().min(1).max(200).default('*'),
  /**
   * `rate_limited` 429, `conflict` 409, `unauthorized` 401, `server_error` 500: refused before anything is done.
   * `forbidden` 403, `not_found` Stripe's 404 for a route it has not, `proxy` a 404 that is not of Stripe's making: the same.
   * `reject_later`: a meter event is taken, and not counted: an error report tells.
   * `server_error_after_commit`: done, and answered 500. `drop`: the connection is cut, nothing done;
   * `drop_after_commit`: done, then cut. `slow`: waits, then goes on, past other faults too.
   */
  kind: z.enum(FAULT_KINDS),
  /** For the next so many requests. Without it and without a probability: 1. */
  times: z.int().min(1).optional(),
  /** Of each request, 0 to 1. With `times` too: until it has happened so often. */
  probability: z.number().min(0).max(1).optional(),
  /** Of the probability's random numbers; 1 by default. */
  seed: z.int().optional(),
  /** Seconds in a 429's `retry-after`; no header without it. */
  retryAfterSeconds: z.number().min(0).optional(),
  /** Only requests whose body has this in it, such as a customer's id. */
  containing: z.string().min(1).max(200).optional(),
  /** How slow; 1,000 by default. */
  delayMs: z.number().min(0).max(600_000).optional(),
});

export type FaultOrder = z.input<typeof faultSchema>;
type Fault = z.output<typeof faultSchema>;

export interface Faults {
  /** Adds an order. Throws a `ZodError` for one that makes no sense. */
  add(order: unknown): void;
  clear(): void;
  /** The faults this request meets, used up by the asking: any number of `slow`, and one other at most. */
  meet(method: string, path: string, body?: string): { delayMs: number; fault: Fault | undefined };
  /** Orders not used up yet. */
  readonly open: readonly (Fault & { readonly happened: number })[];
}

export function createFaults(): Faults {
  let orders: (Fault & { happened: number; pattern: RegExp; random: () => number })[] = [];
  return {
    add: (order) => {
      const fault = faultSchema.parse(order);
      const random = randomNumbers(fault.seed ?? 1);
      orders.push({ ...fault, happened: 0, pattern: routePattern(fault.route), random });
    },
    clear: () => {
      orders = [];
    },
    meet: (method, path, body = '') => {
      let delayMs = 0;
      let met: Fault | undefined;
      for (const order of orders) {
        if (!order.pattern.test(`${method} ${path}`)) continue;
        if (order.containing !== undefined && !body.includes(order.containing)) continue;
        if (order.kind !== 'slow' && met !== undefined) continue;
        if (order.probability !== undefined && order.random() >= order.probability) continue;
        order.happened += 1;
        if (order.kind === 'slow') delayMs += order.delayMs ?? 1_000;
        else met = order;
      }
      orders = orders.filter(isOpen);
      return { delayMs, fault: met };
    },
    get open() {
      return orders.map(({ pattern: _pattern, random: _random, ...fault }) => fault);
    },
  };
}

function isOpen(order: Fault & { happened: number }): boolean {
  const timesMax = order.times ?? (order.probability === undefined ? 1 : Infinity);
  return order.happened < timesMax;
}

function routePattern(route: string): RegExp {
  const escaped = route.replace(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*');
  return /^[A-Z]+ /.test(route) || route.startsWith('*')
    ? new RegExp(`^${escaped}$`)
    : new RegExp(`^[A-Z]+ ${escaped}$`);
}

/** Mulberry32: 32 bits of state are enough to place faults, and the same on every machine. */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
