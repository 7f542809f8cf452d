/**
 * The gateway of the benchmark: the product as `faregate start` runs it, ledger with synchronous=FULL, on a free port.
 * Arguments: the upstream's base URL, the Stripe stand-in's, a directory, and whether to deliver.
 */
import { join } from 'node:path';
import { settingsFor } from '../src/config.ts';
import { startGateway } from '../src/node.ts';
import { createNodeRuntime } from '../src/platform/node-runtime.ts';

const [upstream = '', stripe = '', directory = '', deliver = 'no', serviceKey = ''] = process.argv.slice(2);
const result = settingsFor('start', {
  env: {
    PORT: '0',
    DATABASE_URL: `sqlite:${join(directory, 'bench.db')}`,
    FAREGATE_SERVICE_KEY: serviceKey,
    STRIPE_SECRET_KEY: 'sk_test_bench',
    STRIPE_WEBHOOK_SECRET: 'whsec_bench',
    STRIPE_API_BASE: stripe,
    OPENAI_API_KEY: 'sk-upstream',
    OPENAI_BASE_URL: `${upstream}/v1`,
  },
  readFile: () => undefined,
});
if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
const running = await startGateway(result.settings, createNodeRuntime({ json: true }), {
  delivers: deliver === 'yes',
});
console.log(JSON.stringify({ port: Number(new URL(running.url).port) }));
process.once('SIGTERM', () => void running.close());
