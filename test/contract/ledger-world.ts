/** What the cases of the ledger's contract are told with. */
import type {
  CallToSettle,
  Database,
  Ledger,
  MeterEvent,
  Seal,
  UnsealedLine,
} from '../../src/ledger/ledger.ts';
import { callToOpen, ending, fresh, MODEL } from './ledger-calls.ts';

export const sealOf = (lines: readonly UnsealedLine[], more: Partial<MeterEvent> = {}): Seal => {
  const [first] = lines;
  if (first === undefined) throw new Error('An event has lines.');
  const event = {
    identifier: fresh('event'),
    destination: 'dimensions',
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
