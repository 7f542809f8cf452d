/** `/_simulator/*`: what a test, a benchmark or `faregate trigger` in another process may order and read. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { replyTo } from './exchange.ts';
import { invalid, missing, readBody, sendJson, type Reply } from './http.ts';
import { THIN_TYPES } from './late-errors.ts';
import type { SimulatorOrders } from './stripe.ts';
import type { DeliveryOrder } from './webhooks.ts';

const BODY_BYTES_MAX = 1_048_576;

const triggerSchema = z.looseObject({
  type: z.string(),
  delivery: z
    .strictObject({
      duplicates: z.int().min(0).max(100).optional(),
      signedAtOffsetSeconds: z.int().optional(),
      badSignature: z.boolean().optional(),
    })
    .optional(),
});
const webhookSchema = z.discriminatedUnion('action', [
  z.strictObject({ action: z.literal('hold') }),
  z.strictObject({ action: z.literal('release'), order: z.enum(['given', 'reversed']).optional() }),
  z.strictObject({ action: z.literal('target'), url: z.url(), secret: z.string().optional() }),
]);

/** Serves requests whose path begins with `/_simulator/`. No key is asked for: the server is on loopback. */
export async function control(
  simulator: SimulatorOrders,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const text = await readBody(request, BODY_BYTES_MAX);
    const path = new URL(request.url ?? '/', 'http://simulator').pathname;
    sendJson(response, await run(simulator, `${request.method} ${path}`, parse(text)));
  } catch (error) {
    sendJson(response, error instanceof z.ZodError ? badOrder(error) : replyTo(error, 'req_simulator'));
  }
}

async function run(simulator: SimulatorOrders, route: string, body: unknown): Promise<Reply> {
  switch (route) {
    case 'POST /_simulator/trigger': {
      const { type, delivery, ...overrides } = triggerSchema.parse(body);
      if (THIN_TYPES.includes(type))
        return ok(await simulator.triggerLate(type, overrides, delivery as DeliveryOrder));
      return ok(await simulator.trigger(type, overrides, delivery as DeliveryOrder));
    }
    case 'GET /_simulator/faults':
      return ok(simulator.faults.open);
    case 'POST /_simulator/faults':
      for (const order of Array.isArray(body) ? body : [body]) simulator.faults.add(order);
      return ok(simulator.faults.open);
    case 'DELETE /_simulator/faults':
      simulator.faults.clear();
      return ok([]);
    case 'POST /_simulator/webhooks':
      return ok(await webhookOrder(simulator, webhookSchema.parse(body)));
    case 'POST /_simulator/meter_errors':
      return ok(simulator.reportMeterErrors());
    case 'GET /_simulator/state':
      return ok(stateOf(simulator));
    case 'GET /_simulator/meter_events':
      return ok(simulator.world.accepted);
    case 'GET /_simulator/requests':
      return ok(simulator.requests);
    default:
      throw missing('simulator route', route, 'path');
  }
}

async function webhookOrder(
  simulator: SimulatorOrders,
  order: z.output<typeof webhookSchema>,
): Promise<unknown> {
  switch (order.action) {
    case 'hold':
      simulator.webhooks.hold();
      return { holding: true };
    case 'release':
      return simulator.webhooks.release(order.order);
    case 'target':
      simulator.sendWebhooksTo(order.url, order.secret);
      return { url: order.url };
  }
}

function stateOf({ world, webhooks, faults, requests, sums }: SimulatorOrders): unknown {
  return {
    customers: [...world.customers.values()],
    deleted: [...world.deleted],
    meters: [...world.meters.values()],
    alerts: [...world.alerts.values()],
    credit_grants: [...world.grants.values()],
    webhook_endpoints: [...world.endpoints.values()].map(({ id, url, enabled_events }) => ({
      id,
      url,
      enabled_events,
    })),
    sums: sums(),
    meter_events: world.accepted.length,
    events: world.events.map(({ id, type, created }) => ({ id, type, created })),
    deliveries: webhooks.deliveries,
    faults: faults.open,
    requests: requests.length,
  };
}

function parse(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`The order is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const badOrder = (error: z.ZodError): Reply =>
  invalid(`The order makes no sense: ${z.prettifyError(error)}`).reply('req_simulator');

const ok = (body: unknown): Reply => ({ status: 200, body });
