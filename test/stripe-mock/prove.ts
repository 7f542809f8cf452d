/**
 * `npm run prove:stripe-mock`: makes every v1 request of the product to Stripe's own mock server, which refuses what
 * Stripe's published description does not know. A line of JSON for each request; exit 1 when one is refused. Needs Go, once:
 * where it is missing it says so and ends with 0, or with 4 under `--required`.
 */
import { parseArgs } from 'node:util';
import type { Stripe } from 'stripe';
import { createStripeClient } from '../../src/billing/stripe/client.ts';
import { REQUESTS } from './requests.ts';
import { installed, startMock } from './server.ts';

const { values } = parseArgs({ options: { required: { type: 'boolean', default: false } } });
const binary = installed();
if (binary === undefined) {
  console.error(
    'stripe-mock is not here and could not be built: it takes Go (https://go.dev). Nothing was proved.',
  );
  process.exit(values.required ? 4 : 0);
}

interface Answer {
  readonly request: string;
  readonly status: number;
}

const server = await startMock(binary);
const stripe = createStripeClient({ secretKey: 'sk_test_mock', apiBase: server.url });
let answers: Answer[] = [];
stripe.on('response', ({ method, path, status }: Stripe.ResponseEvent) => {
  answers.push({ request: `${method} ${path.replace(/\?.*$/, '')}`, status });
});

let refused = 0;
for (const { call, request, make } of REQUESTS) {
  answers = [];
  // What comes back are examples of Stripe's, which need not fit each other: only whether a request is refused counts.
  const failure = await make(stripe, Date.now()).then(
    () => undefined,
    (error: unknown) => String(error),
  );
  const own = answers.filter((answer) => request.test(answer.request));
  const isRefused = own.length === 0 || answers.some(({ status }) => status >= 400);
  if (isRefused) refused += 1;
  console.log(
    JSON.stringify({
      call,
      requests: answers.length,
      refused: isRefused,
      ...(isRefused ? { answers, failure } : {}),
    }),
  );
}
// The proof of the proof: a member that Stripe does not know is refused.
const stray = await stripe
  .rawRequest('POST', '/v1/billing/meter_events', { event_name: 'tokens', stray: '1' })
  .then(
    () => 'taken',
    () => 'refused',
  );
server.close();
if (stray === 'taken') {
  console.error('stripe-mock took a member that Stripe does not know: it proves nothing.');
  refused += 1;
}
console.log(JSON.stringify({ calls: REQUESTS.length, refused, stray }));
if (refused > 0) process.exitCode = 1;
