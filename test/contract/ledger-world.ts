/** What the cases of the ledger's contract are told with. */
import type {
  CallToOpen,
  CallToSettle,
  Database,
  Ledger,
  MeterEvent,
  Seal,
  UnsealedLine,
} from '../../src/ledger/ledger.ts';

export const MODEL = 'openai/gpt-4o-mini';
let names = 0;
/** A name no other case in this process has, sortable like the product's ids. */
export const fresh = (prefix: string): string => `${prefix}_${String((names += 1)).padStart(6, '0')}`;

export const callToOpen = (more: Partial<CallToOpen> = {}): CallToOpen => ({
  id: fresh('call'),
  customer: 'cus_1',
  keyId: 'key_1',
  endpoint: 'chat.completions',
  provider: 'openai',
  model: MODEL,
  stream: true,
  openedAtMs: 1_000,
  ...more,
});

export const ending = (id: string, more: Partial<CallToSettle> = {}): CallToSettle => ({
  id,
  endedAtMs: 2_000,
  outcome: 'finished',
  status: 200,
  usageSource: 'reported',
  lines: [
    { attempt: 1, model: MODEL, tokenType: 'input', tokens: 12 },
    { attempt: 1, model: MODEL, tokenType: 'output', tokens: 5 },
  ],
  usageJson: '[{"servedModel":"gpt-4o-mini-2024-07-18"}]',
  costPico: '9007199254740993',
  responseId: 'chatcmpl-1',
  ...more,
});

export const sealOf = (lines: readonly UnsealedLine[], more: Partial<MeterEvent> = {}): Seal => {
  const [first] = lines;
  if (first === undefined) throw new Error('An event has lines.');
  const event = {
    identifier: fresh('event'),
    eventName: 'token-billing-tokens',
    customer: first.customer,
    model: first.model,
    tokenType: first.tokenType,
    value: String(lines.reduce((sum, line) => sum + line.tokens, 0)),
    timestampMs: first.endedAtMs,
    ...more,
  };
  return { event, members: lines };
};

export type Given = () => { ledger: Ledger; database: Database; customer: string };

export async function settled(given: Given, more: Partial<CallToSettle> = {}): Promise<string> {
  const { ledger, customer } = given();
  const call = callToOpen({ customer });
  await ledger.admit(call);
  await ledger.settle(ending(call.id, more));
  return call.id;
}

/** The customer's own unsealed lines, among those of every other case. */
export async function unsealedOf(given: Given): Promise<readonly UnsealedLine[]> {
  const { ledger, customer } = given();
  return (await ledger.unsealed(100_000)).filter((line) => line.customer === customer);
}

export async function oneSealed(given: Given): Promise<MeterEvent> {
  await settled(given, { lines: [{ attempt: 1, model: MODEL, tokenType: 'input', tokens: 12 }] });
  const seal = sealOf(await unsealedOf(given), { timestampMs: 2_000 });
  await given().ledger.seal([seal]);
  return seal.event;
}
