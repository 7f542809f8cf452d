/** The sandbox's terminal: one line a call, once it is delivered: tokens, cost, balance, delivery. */
import type { Ledger } from '../ledger/ledger.ts';
import type { LogFields, Runtime } from '../runtime.ts';
import { formatUsd } from '../usage/money.ts';

export interface DevReporter {
  /** The runtime to give the gateway: what it logs of calls becomes lines for a person. */
  readonly runtime: Runtime;
  watch(ledger: Ledger): void;
  stop(): void;
}

/** A call's line waits this long for its delivery, then says how far it is. */
const PATIENCE_MS = 3_000;
const LOOK_EVERY_MS = 50;

interface Waiting {
  readonly fields: LogFields;
  readonly sinceMs: number;
}

export function createDevReporter(options: {
  readonly runtime: Runtime;
  readonly json: boolean;
  readonly balance: () => Promise<bigint>;
}): DevReporter {
  const { runtime, json } = options;
  const waiting = new Map<string, Waiting>();
  let timer: NodeJS.Timeout | undefined;

  const log: Runtime['log'] = (level, event, fields = {}) => {
    if (json || (event !== 'call' && event !== 'refused')) runtime.log(level, event, fields);
    else if (event === 'refused') process.stdout.write(refusedLine(runtime.now(), fields));
    else waiting.set(String(fields['request_id']), { fields, sinceMs: runtime.now() });
  };
  const look = async (ledger: Ledger): Promise<void> => {
    for (const [id, { fields, sinceMs }] of waiting) {
      const delivery = await deliveryOf(ledger, id);
      if (delivery.waits && runtime.now() - sinceMs < PATIENCE_MS) continue;
      waiting.delete(id);
      const balance = formatUsd(await options.balance());
      process.stdout.write(callLine(runtime.now(), fields, `bal $${balance}  ${delivery.text}`));
    }
  };
  return {
    runtime: { ...runtime, log },
    watch(ledger) {
      const next = (): void => {
        timer = setTimeout(() => void look(ledger).then(next, next), LOOK_EVERY_MS);
      };
      if (!json) next();
    },
    stop: () => clearTimeout(timer),
  };
}

async function deliveryOf(ledger: Ledger, id: string): Promise<{ waits: boolean; text: string }> {
  const [call] = (await ledger.calls({ id, limit: 1 })).data;
  if (call === undefined || call.lines.length === 0) return { waits: false, text: 'nothing to bill' };
  const states = call.events.map(({ state }) => state);
  const delivered = states.length === call.lines.length && states.every((state) => state === 'accepted');
  if (delivered) return { waits: false, text: `-> Stripe has ${states.length} events` };
  return { waits: true, text: `-> Stripe: ${states.join(', ') || 'pending'}` };
}

const clock = (ms: number): string => new Date(ms).toTimeString().slice(0, 8);

function callLine(nowMs: number, fields: LogFields, rest: string): string {
  const cost =
    typeof fields['cost_pico'] === 'string' ? `$${formatUsd(BigInt(fields['cost_pico']))}` : 'no price';
  const estimated = fields['usage_source'] === 'estimated' ? ' (estimated)' : '';
  const tokens = `in ${fields['input_tokens']} out ${fields['output_tokens']}${estimated}`;
  return `  ${clock(nowMs)} ${fields['status'] ?? '---'} ${fields['customer']} ${fields['model']}  ${tokens}  ${cost}  ${rest}  ${fields['duration_ms']}ms  ${fields['request_id']}\n`;
}

const refusedLine = (nowMs: number, fields: LogFields): string =>
  `  ${clock(nowMs)} ${fields['status']} ${fields['code']}  ${fields['path']}  ${fields['request_id']}\n`;
