/** Starts stand-ins for a test, with a clock the test moves, and ends them after it. */
import { createServer } from 'node:http';
import { Stripe } from 'stripe';
import { onTestFinished } from 'vitest';
import { listening } from '../../src/simulator/http.ts';
import { createStripeSimulator, type StripeSimulatorOptions } from '../../src/simulator/stripe.ts';

export const SECRET = 'whsec_test';
/** A whole day, hour and minute: 2026-11-21T00:00:00Z. */
export const START_MS = Date.UTC(2026, 10, 21);
export const METER = 'token-billing-tokens';

export interface Clock {
  ms: number;
}

export async function startSimulator(options: Partial<StripeSimulatorOptions> = {}) {
  const clock: Clock = { ms: START_MS };
  const simulator = createStripeSimulator({
    now: () => clock.ms,
    webhookSecret: SECRET,
    retryDelaysMs: [1, 1],
    ...options,
  });
  onTestFinished(() => simulator.close());
  const url = await simulator.listen();
  return { simulator, clock, url, stripe: stripeClient(url) };
}

/** The real SDK, sent to the simulator. */
export function stripeClient(url: string, key = 'sk_test_sandbox'): Stripe {
  const { hostname, port } = new URL(url);
  return new Stripe(key, {
    host: hostname,
    port: Number(port),
    protocol: 'http',
    maxNetworkRetries: 0,
    timeout: 5_000,
    telemetry: false,
  });
}

/** A started simulator with a customer and a meter. */
export async function startMetered(options: Partial<StripeSimulatorOptions> = {}) {
  const started = await startSimulator(options);
  started.simulator.addCustomer('cus_demo');
  const meter = started.simulator.addMeter(METER);
  return { ...started, meter };
}

export const usage = (value: string, more: Record<string, string> = {}) => ({
  stripe_customer_id: 'cus_demo',
  value,
  model: 'demo/echo',
  token_type: 'input',
  ...more,
});

export interface Received {
  body: string;
  signature: string;
}

/** A webhook endpoint that keeps what it gets and answers with the next of `statuses`, then 200. */
export async function startReceiver(statuses: number[] = []) {
  const received: Received[] = [];
  const http = listening(
    createServer(async (request, response) => {
      let body = '';
      for await (const part of request) body += String(part);
      received.push({ body, signature: String(request.headers['stripe-signature']) });
      response.writeHead(statuses.shift() ?? 200).end('seen');
    }),
  );
  onTestFinished(() => http.close());
  const url = await http.listen();
  return { webhookUrl: `${url}/webhooks/stripe`, received };
}

/** The error that the work is rejected with, as the SDK throws it. Throws when the work succeeds. */
export async function stripeError(work: Promise<unknown>): Promise<Stripe.errors.StripeError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Stripe.errors.StripeError) return error;
    throw error;
  }
  throw new Error('The call was expected to fail.');
}
