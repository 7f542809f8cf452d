/**
 * Step 5: what the call used, as durable lines, before the caller is told that the reply is complete.
 *
 * The provider's own final count wins. Where it said nothing, or broke off, our own count stands in, marked estimated.
 */
import type { ResponseReader } from '../../providers/provider.ts';
import type {
  Attempt,
  AttemptFailure,
  CallToSettle,
  Ledger,
  Line,
  Outcome,
  UsageSource,
} from '../ledger/ledger.ts';
import type { Runtime } from '../runtime.ts';
import { countByType, type TokenType } from '../usage/token-types.ts';
import {
  addUsage,
  inputTokens,
  outputTokens,
  type Usage,
  type UsageLine,
  ZERO_TOKENS,
} from '../usage/usage.ts';
import { usageToJson } from '../usage/usage-json.ts';
import { backgroundOf, isBackground, isUnfinished } from './background.ts';
import type { Call } from './call.ts';
import { createUnwritten } from './unwritten.ts';

/** What a line of usage costs the customer, in picodollars; null for a model without a price. */
export interface Rater {
  costPico(usage: Usage, billedModel: string, plan?: string | null): bigint | null;
  /** Names the prices, for the record. */
  readonly version: string;
}

export interface Ending {
  readonly outcome: Outcome;
  /** The provider's HTTP status; null when it never answered. */
  readonly status: number | null;
  /** The reader of the reply; undefined when there was none. */
  readonly reader: ResponseReader | undefined;
  readonly firstByteAtMs: number | undefined;
  readonly attempt: number;
  /** Now, unless it ended before. */
  readonly endedAtMs?: number | undefined;
  /** We closed the upstream on a request that it had been sent: it may have read it, also where it had not answered. */
  readonly cancelled: boolean;
}

/** What the customer is charged for. */
export interface Bill {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costPico: bigint | null;
  readonly usageSource: UsageSource;
  /** What the call left of the credit; undefined for who has none. */
  readonly balancePico?: string | undefined;
}

export interface Settler {
  /** The count as it stands, before it is written. */
  measure(call: Call, ending: Ending): Measured;
  /**
   * Writes the measured usage and closes the call.
   *
   * @throws {LedgerUnavailable} when it could not be made durable; it is kept, and written by `retry`.
   */
  settle(call: Call, ending: Ending, measured: Measured): Promise<Bill>;
  /** What an attempt cost that another one follows: the operator's loss, on record and on nobody's bill. */
  failedAttempt(call: Call, ending: Ending, failure: AttemptFailure): Attempt;
  /** Evidence for a crash: what the reply has surely cost so far. */
  checkpoint(call: Call, reader: ResponseReader, attempt: number): Promise<void>;
  /** Writes the settlements that failed before; answers how many are still waiting. */
  retry(): Promise<number>;
}

export interface Measured {
  readonly usage: readonly UsageLine[];
  readonly usageSource: UsageSource;
  readonly responseId: string | null;
  readonly reason: string | undefined;
  /** The provider reported nothing and the operator's policy is to serve nothing uncounted. */
  readonly refused: boolean;
  /** The response goes on at its provider: the call stays open for it. */
  readonly unfinished?: true;
}

export interface SettlerOptions {
  readonly ledger: Ledger;
  readonly rater: Rater;
  readonly runtime: Runtime;
  readonly tokenTypes: readonly TokenType[];
  /** The name a model is billed under, after the provider's slash. */
  readonly billedName: (providerType: string, model: string) => string;
  readonly onMissingUsage: 'estimate' | 'refuse' | 'zero';
  /** Told of each bill that is on record. */
  readonly billed?: ((call: Call, bill: Bill) => void) | undefined;
}

export function createSettler(options: SettlerOptions): Settler {
  const { ledger, runtime } = options;
  const unwritten = createUnwritten(runtime);

  return {
    measure: (call, ending) => measure(call, ending, options.onMissingUsage),

    async settle(call, ending, measured) {
      if (measured.unfinished === true && measured.responseId !== null) {
        const at = { attempt: ending.attempt, nowMs: runtime.now() };
        const background = backgroundOf(call, measured.responseId, at);
        await unwritten.write(call.id, () => ledger.openBackground(background));
        return { inputTokens: 0, outputTokens: 0, costPico: null, usageSource: 'none' };
      }
      const record = recordOf(call, ending, measured, options);
      logCall(runtime, call, ending, record);
      const { balancePico } = await unwritten.write(call.id, () => ledger.settle(record.toSettle));
      const { bill } = record;
      options.billed?.(call, bill);
      return balancePico === undefined ? bill : { ...bill, balancePico };
    },

    failedAttempt(call, ending, failure) {
      const { toSettle } = recordOf(call, ending, measure(call, ending, 'estimate'), options);
      const { usageSource, usageJson, costPico, responseId, endedAtMs, status } = toSettle;
      const { route, billedModel: model } = call.target;
      const what = { attempt: ending.attempt, provider: route.upstream.name, model, failure, status };
      return { ...what, usageSource, usageJson, costPico, responseId, endedAtMs };
    },

    async checkpoint(call, reader, attempt) {
      const { responseId } = isBackground(call.request) ? reader.metered() : {};
      if (responseId !== undefined)
        await ledger.openBackground(
          backgroundOf(call, responseId, { attempt, nowMs: runtime.now(), streams: true }),
        );
      const { outputTokens: output, deltas } = reader.estimate();
      // A delta is a token at the least and the estimate is a guess: the smaller of the two is evidence.
      const line: UsageLine = {
        ...ZERO_TOKENS,
        servedModel: null,
        uncachedInput: call.target.route.provider.leastInput(call.request),
        textOutput: Math.min(output, deltas),
      };
      await ledger.checkpoint({
        id: call.id,
        lines: linesOf([{ model: call.target.billedModel, usage: line }], attempt, options.tokenTypes),
        usageJson: usageToJson([line]),
        costPico: options.rater.costPico(line, call.target.billedModel, call.money?.plan)?.toString() ?? null,
      });
      await shrinkHold(call, reader, options);
    },

    retry: unwritten.retry,
  };
}

/** Once the provider has said what it read, no more than that is held for it. */
async function shrinkHold(
  call: Call,
  reader: ResponseReader,
  { ledger, rater }: SettlerOptions,
): Promise<void> {
  const hold = call.money?.hold;
  const [line, ...more] = reader.metered().lines;
  if (hold?.outputPico == null || line === undefined || more.length > 0 || inputTokens(line) === 0) return;
  const read = { ...line, textOutput: 0, reasoning: 0, audioOutput: 0, imageOutput: 0 };
  const cost = rater.costPico(read, call.target.billedModel, call.money?.plan);
  if (cost === null || cost + hold.outputPico >= hold.holdPico) return;
  await ledger.shrinkHold(call, String(cost + hold.outputPico));
}

function measure(call: Call, ending: Ending, onMissing: SettlerOptions['onMissingUsage']): Measured {
  const { reader, status } = ending;
  const none: Measured = {
    usage: [],
    usageSource: 'none',
    responseId: null,
    reason: undefined,
    refused: false,
  };
  if (ending.cancelled && status === null && onMissing !== 'zero')
    return { ...none, usage: [estimatedLine(call, 0)], usageSource: 'estimated' };
  if (reader === undefined || status === null || status >= 400) return none;
  const metered = reader.metered();
  const responseId = metered.responseId ?? null;
  const told = { ...none, responseId, reason: metered.reason };
  if (isUnfinished(call, metered)) return { ...told, unfinished: true };
  if (metered.kind === 'final') return { ...told, usage: metered.lines, usageSource: 'reported' };
  // An error that came before any content: the provider charges nothing for it, whatever its status said.
  if (metered.kind === 'none' && metered.failed === true && reader.estimate().deltas === 0) return told;
  if (onMissing === 'zero') return told;
  if (onMissing === 'refuse' && ending.outcome === 'finished') return { ...told, refused: true };
  // Refused for its missing usage: whole, nothing of it went out, so nothing is charged; of a stream everything had.
  if (ending.outcome === 'gateway_refused' && !reader.streams) return told;
  if (metered.lines.length > 0) {
    const usage = metered.outputOpen === true ? withSeenOutput(metered.lines, reader) : metered.lines;
    return { ...told, usage, usageSource: 'estimated' };
  }
  const usage = [estimatedLine(call, reader.estimate().outputTokens)];
  return { ...told, usage, usageSource: 'estimated' };
}

const estimatedLine = (call: Call, output: number): UsageLine => ({
  ...ZERO_TOKENS,
  servedModel: null,
  uncachedInput: call.target.route.provider.estimateInput(call.request),
  textOutput: output,
});

/** The report came before most of the text: what was seen generated counts where it is more. */
function withSeenOutput(lines: readonly UsageLine[], reader: ResponseReader): readonly UsageLine[] {
  const [first, ...rest] = lines;
  if (first === undefined) return lines;
  const seen = reader.estimate().outputTokens;
  const missing = Math.max(0, seen - lines.reduce((sum, line) => sum + outputTokens(line), 0));
  return [{ ...first, textOutput: first.textOutput + missing }, ...rest];
}

interface BilledUsage {
  readonly model: string;
  readonly usage: Usage;
}

/**
 * Usage by billed model. What one model served is billed under the name it was asked by. A reply that ran several models
 * is billed by the names of those that served; a line that names none goes to the one that was asked.
 */
function billedByModel(
  call: Call,
  usage: readonly UsageLine[],
  billedName: SettlerOptions['billedName'],
): readonly BilledUsage[] {
  const { billedModel: asked, route } = call.target;
  if (usage.length === 1) return usage.map((line) => ({ model: asked, usage: line }));
  const several = new Set(usage.map(({ servedModel }) => servedModel)).size > 1;
  const byModel = new Map<string, Usage>();
  for (const line of usage) {
    const served = several && line.servedModel !== null ? line.servedModel : undefined;
    const model =
      served === undefined ? asked : `${route.upstream.name}/${billedName(route.upstream.type, served)}`;
    byModel.set(model, addUsage(byModel.get(model) ?? ZERO_TOKENS, line));
  }
  return [...byModel].map(([model, counts]) => ({ model, usage: counts }));
}

const linesOf = (
  billed: readonly BilledUsage[],
  attempt: number,
  types: readonly TokenType[],
): readonly Line[] =>
  billed.flatMap(({ model, usage }) =>
    countByType(usage, types).map(({ tokenType, tokens }) => ({ attempt, model, tokenType, tokens })),
  );

function recordOf(
  call: Call,
  ending: Ending,
  measured: Measured,
  options: SettlerOptions,
): { readonly toSettle: CallToSettle; readonly bill: Bill } {
  const { usage, usageSource } = measured;
  const billed = billedByModel(call, usage, options.billedName);
  let costPico: bigint | null = 0n;
  let input = 0;
  let output = 0;
  for (const { model, usage: counts } of billed) {
    const cost = options.rater.costPico(counts, model, call.money?.plan);
    costPico = cost === null || costPico === null ? null : costPico + cost;
    input += inputTokens(counts);
    output += outputTokens(counts);
  }
  return {
    bill: { inputTokens: input, outputTokens: output, costPico, usageSource },
    toSettle: {
      id: call.id,
      heldBy: call.money?.hold === undefined ? undefined : { customer: call.customer, keyId: call.keyId },
      // A stream's head has told it before.
      tellsBalance: call.money?.hasCredit === true && ending.reader?.streams !== true,
      endedAtMs: ending.endedAtMs ?? options.runtime.now(),
      outcome: ending.outcome,
      status: ending.status,
      usageSource,
      lines: linesOf(billed, ending.attempt, options.tokenTypes),
      usageJson: usageToJson(usage),
      costPico: costPico === null ? null : costPico.toString(),
      priceVersion: options.rater.version,
      responseId: measured.responseId,
    },
  };
}

function logCall(runtime: Runtime, call: Call, ending: Ending, record: ReturnType<typeof recordOf>): void {
  const { bill, toSettle } = record;
  runtime.log('info', 'call', {
    request_id: call.id,
    customer: call.customer,
    key_id: call.keyId,
    model: call.target.billedModel,
    stream: call.request.stream,
    status: ending.status,
    outcome: ending.outcome,
    usage_source: bill.usageSource,
    input_tokens: bill.inputTokens,
    output_tokens: bill.outputTokens,
    cost_pico: toSettle.costPico,
    first_byte_ms: ending.firstByteAtMs === undefined ? null : ending.firstByteAtMs - call.startedAtMs,
    duration_ms: toSettle.endedAtMs - call.startedAtMs,
  });
}
