import type { Command } from 'commander';
import { z } from 'zod';
import { isRefused } from './admin.ts';
import { CommandFailure, type CommonOptions, EXIT, addCommand, say } from './command.ts';
import { customerId } from './keys.ts';

/** Where `faregate dev` puts its Stripe simulator. */
const SIMULATOR_URL = 'http://127.0.0.1:12111';
const TIMEOUT_MS = 10_000;

interface TriggerOptions extends CommonOptions {
  readonly customer: string;
  readonly simulator: string;
}

export function registerTrigger(program: Command): void {
  addCommand(program, 'trigger <event>', 'make the simulator of "faregate dev" emit a webhook')
    .option('--customer <cus_…>', 'whom it is about', customerId, 'cus_demo')
    .option('--simulator <url>', 'where the simulator listens', SIMULATOR_URL)
    .addHelpText(
      'after',
      '\nExample:\n  faregate trigger billing.alert.triggered   # the next call of cus_demo is a 402',
    )
    .action(trigger);
}

async function trigger(type: string, options: TriggerOptions): Promise<void> {
  const response = await post(`${options.simulator}/_simulator/trigger`, {
    type,
    customer: options.customer,
  });
  const text = await response.text();
  if (!response.ok) {
    throw new CommandFailure(
      response.status === 400 ? EXIT.usage : EXIT.problem,
      `The simulator answered ${String(response.status)}: ${text.slice(0, 1000)}`,
    );
  }
  const answer: unknown = text === '' ? {} : JSON.parse(text);
  const failed = deliveriesOf(answer).filter(({ status }) => status !== 200);
  if (failed.length > 0) {
    const said = failed.map(({ status }) => (status === null ? 'nobody answered' : `HTTP ${String(status)}`));
    throw new CommandFailure(
      EXIT.problem,
      `${type} was made, but the gateway's webhook did not take it: ${said.join(', ')}.`,
    );
  }
  say(options, answer, () => [`${type} for ${options.customer} was sent to the gateway's webhook.`]);
}

const answerSchema = z.looseObject({
  deliveries: z.array(z.looseObject({ status: z.int().nullable() })).default([]),
});
const deliveriesOf = (answer: unknown): readonly { readonly status: number | null }[] =>
  answerSchema.safeParse(answer).data?.deliveries ?? [];

async function post(url: string, body: unknown): Promise<Response> {
  try {
    return await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    const why = isRefused(error) ? 'nothing listens there' : String(error);
    throw new CommandFailure(
      EXIT.network,
      `The simulator at ${url} cannot be reached (${why}). Is "faregate dev" running?`,
    );
  }
}
