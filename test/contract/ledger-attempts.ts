/** What a Ledger must do with attempts that failed, on every engine. */
import { expect, it } from 'vitest';
import { createLedger } from '../../src/ledger/create-ledger.ts';
import type { Attempt, CallView, Database, Ledger } from '../../src/ledger/ledger.ts';
import { callToOpen, ending, fresh, MODEL } from './ledger-calls.ts';

type Given = () => { ledger: Ledger; database: Database; customer: string };

const failedAttempt = (attempt: number, more: Partial<Attempt> = {}): Attempt => ({
  attempt,
  provider: 'openai',
  model: MODEL,
  failure: 'answered',
  status: 503,
  usageSource: 'reported',
  usageJson: '[{"uncachedInput":7}]',
  costPico: '9007199254740993',
  responseId: 'chatcmpl-lost',
  endedAtMs: 1_500,
  ...more,
});
const NEXT = { provider: 'groq', model: 'groq/llama' };

export function describeAttempts(given: Given): void {
  const opened = async (): Promise<string> => {
    const { ledger, customer } = given();
    const call = callToOpen({ customer });
    await ledger.admit(call);
    return call.id;
  };
  const read = async (id: string): Promise<CallView | undefined> =>
    (await given().ledger.calls({ id, limit: 1 })).data[0];

  it('keeps a failed attempt with what it cost, and bills the call by the one that served', async () => {
    const { ledger } = given();
    const id = await opened();
    await ledger.attemptFailed(id, failedAttempt(1), NEXT);
    await ledger.settle(ending(id, { lines: [{ attempt: 2, ...LINE }] }));
    const call = await read(id);
    expect(call?.attempts).toEqual([failedAttempt(1)]);
    expect(call).toMatchObject({ ...NEXT, lines: [{ attempt: 2, ...LINE }] });
  });

  it('keeps a repeated report of a failed attempt once', async () => {
    const { ledger } = given();
    const id = await opened();
    await ledger.attemptFailed(id, failedAttempt(1), NEXT);
    await ledger.attemptFailed(id, failedAttempt(1, { status: 500 }), NEXT);
    expect((await read(id))?.attempts).toEqual([failedAttempt(1)]);
  });

  it('leaves a settled call as it is when an attempt is reported late', async () => {
    const { ledger } = given();
    const id = await opened();
    await ledger.settle(ending(id));
    await ledger.attemptFailed(id, failedAttempt(1), NEXT);
    expect(await read(id)).toMatchObject({ provider: 'openai', model: MODEL, attempts: [] });
  });

  it('recovers a call by the evidence of its present attempt, not of one that failed', async () => {
    const { ledger, database } = given();
    const id = await opened();
    const evidence = { usageJson: '[]', costPico: '5' };
    await ledger.checkpoint({ id, lines: [{ attempt: 1, ...LINE }], ...evidence });
    await ledger.attemptFailed(id, failedAttempt(1), NEXT);
    const untouched = await opened();
    await ledger.checkpoint({ id: untouched, lines: [{ attempt: 1, ...LINE }], ...evidence });
    const next = createLedger({ database, bootId: fresh('boot') });
    const closed = await next.recover({ nowMs: 9_000 });
    const of = (call: string): CallView | undefined => closed.find((one) => one.id === call);
    expect(of(id)).toMatchObject({
      outcome: 'recovered',
      usageSource: 'none',
      lines: [],
      model: 'groq/llama',
    });
    expect(of(untouched)?.lines).toEqual([{ attempt: 1, ...LINE }]);
  });
}

const LINE = { model: 'groq/llama', tokenType: 'input', tokens: 3 };
