/** Holds the books against each other. Pure; answers everything that is wrong, each with the call it is about. */
import { PROVIDER, type Books, type LedgerEntry, type UpstreamEntry } from './books.ts';

export type ProblemKind =
  /** The upstream was asked and no row was there, or it was opened later. */
  | 'unopened'
  /** The caller has the whole reply, and it is not billed. */
  | 'lost'
  /** One reply is billed more than once. */
  | 'doubled'
  /** A final count that is not the upstream's. */
  | 'miscounted'
  /** A call that was cut is billed more than was generated for it. */
  | 'overbilled'
  /** Ledger and Stripe differ. */
  | 'undelivered'
  /** A call stayed open, or ended in a way that nothing here can cause. */
  | 'unsettled'
  /** The gateway refused a call that nothing was wrong with. */
  | 'refused';

export interface Problem {
  readonly kind: ProblemKind;
  /** The call's model, response id or tag: enough to find it. */
  readonly about: string;
  readonly what: string;
}

export function compare(books: Books): Problem[] {
  return [
    ...refusals(books),
    ...openings(books),
    ...completeReplies(books),
    ...settlements(books),
    ...cuts(books),
    ...deliveries(books),
  ];
}

const billed = (model: string): string => `${PROVIDER}/${model}`;
const input = (call: LedgerEntry): number => call.usage?.input_tokens ?? 0;
const output = (call: LedgerEntry): number => call.usage?.output_tokens ?? 0;
const tokensText = (inputTokens: number, outputTokens: number): string =>
  `${inputTokens} in, ${outputTokens} out`;

const refusals = ({ callers }: Books): Problem[] =>
  callers
    .filter(({ status }) => status !== undefined && status !== 200)
    .map(({ tag, status }) => ({ kind: 'refused', about: tag, what: `answered ${status}` }));

/** Every request the upstream saw has a row, and that row is older. Models that calls share are compared in number. */
function openings({ upstream, ledger }: Books): Problem[] {
  const rows = Map.groupBy(ledger, ({ model }) => model);
  const problems: Problem[] = [];
  for (const [model, seen] of Map.groupBy(upstream, (call) => call.model)) {
    const opened = (rows.get(billed(model)) ?? []).map((row) => Date.parse(row.opened_at)).sort(ascending);
    const asked = seen.map(({ seenAtMs }) => seenAtMs).sort(ascending);
    // The n-th request was seen no earlier than the n-th row was opened.
    const late = asked.findIndex((atMs, index) => !((opened[index] ?? Infinity) <= atMs));
    if (late < 0) continue;
    const what = `${asked.length} requests, ${opened.length} rows; request ${late + 1} had none before it`;
    problems.push({ kind: 'unopened', about: model, what });
  }
  return problems;
}

const ascending = (a: number, b: number): number => a - b;

function completeReplies({ callers, upstream, ledger }: Books): Problem[] {
  const served = new Map(upstream.map((call) => [call.tag, call]));
  const settled = new Map(ledger.map((call) => [call.response_id, call]));
  return callers
    .filter(({ complete }) => complete)
    .flatMap(({ tag, customer, requestId }): Problem[] => {
      const call = served.get(tag);
      if (call === undefined) return [{ kind: 'lost', about: tag, what: 'the upstream never saw it' }];
      const row = settled.get(call.responseId);
      if (row === undefined) return [{ kind: 'lost', about: tag, what: `no row has ${call.responseId}` }];
      if (row.customer !== customer || row.id !== requestId)
        return [
          {
            kind: 'lost',
            about: tag,
            what: `row ${row.id} is of ${row.customer}, not ${requestId} of ${customer}`,
          },
        ];
      return row.usage_source === 'reported' && row.outcome === 'finished'
        ? []
        : [{ kind: 'lost', about: tag, what: `its row is ${row.outcome}, ${row.usage_source}` }];
    });
}

/** A count that was reported is the upstream's own, of a reply it finished, and stands once. */
function settlements({ upstream, ledger }: Books): Problem[] {
  const served = new Map(upstream.map((call) => [call.responseId, call]));
  const once = new Set<string>();
  return ledger.flatMap((call): Problem[] => {
    const about = `${call.model} ${call.id}`;
    if (call.state !== 'settled') return [{ kind: 'unsettled', about, what: 'it is still open' }];
    if (call.outcome === 'recovered') return [];
    if (call.usage_source !== 'reported')
      return [{ kind: 'unsettled', about, what: `${call.outcome}, ${call.usage_source}` }];
    const id = call.response_id ?? '';
    const truth = served.get(id);
    if (truth === undefined) return [{ kind: 'overbilled', about, what: `nobody served ${id}` }];
    if (once.has(id)) return [{ kind: 'doubled', about, what: `${id} has two rows` }];
    once.add(id);
    return truth.finished && truth.inputTokens === input(call) && truth.outputTokens === output(call)
      ? []
      : [
          {
            kind: 'miscounted',
            about,
            what: `billed ${tokensText(input(call), output(call))}; ${servedText(truth)}`,
          },
        ];
  });
}

const servedText = (truth: UpstreamEntry): string =>
  `served ${tokensText(truth.inputTokens, truth.outputTokens)}${truth.finished ? '' : ', unfinished'}`;

/** What recovery billed is at most what was served beyond the replies that have their own rows. */
function cuts({ upstream, ledger }: Books): Problem[] {
  const settled = new Set(ledger.map(({ response_id: id }) => id));
  const evidence = Map.groupBy(
    upstream.filter(({ responseId }) => !settled.has(responseId)),
    ({ model }) => billed(model),
  );
  const recovered = Map.groupBy(
    ledger.filter(({ outcome }) => outcome === 'recovered'),
    ({ model }) => model,
  );
  return [...recovered].flatMap(([model, calls]): Problem[] => {
    const shown = evidence.get(model) ?? [];
    const [inBilled, outBilled] = [sum(calls, input), sum(calls, output)];
    const [inServed, outServed] = [
      sum(shown, (call) => call.inputTokens),
      sum(shown, (call) => call.outputTokens),
    ];
    return inBilled <= inServed && outBilled <= outServed
      ? []
      : [
          {
            kind: 'overbilled',
            about: model,
            what: `recovered ${tokensText(inBilled, outBilled)}; served ${tokensText(inServed, outServed)}`,
          },
        ];
  });
}

const sum = <T>(items: readonly T[], count: (item: T) => number): number =>
  items.reduce((total, item) => total + count(item), 0);

/** Stripe has what the ledger has, by customer, model and token type, and every event's state says so. */
function deliveries({ ledger, stripe }: Books): Problem[] {
  const owed = new Map<string, number>();
  const problems: Problem[] = [];
  for (const call of ledger) {
    for (const [type, tokens] of [
      ['input', input(call)],
      ['output', output(call)],
    ] as const) {
      const key = `${call.customer} ${call.model} ${type}`;
      if (tokens > 0) owed.set(key, (owed.get(key) ?? 0) + tokens);
    }
    for (const { identifier, state } of call.events) {
      if (state !== 'accepted')
        problems.push({ kind: 'undelivered', about: call.id, what: `event ${identifier} is ${state}` });
    }
  }
  for (const { customer, model, tokenType, tokens } of stripe) {
    const key = `${customer} ${model} ${tokenType}`;
    const want = owed.get(key) ?? 0;
    owed.delete(key);
    if (tokens !== want)
      problems.push({
        kind: tokens > want ? 'doubled' : 'undelivered',
        about: key,
        what: `Stripe has ${tokens}, the ledger ${want}`,
      });
  }
  for (const [key, want] of owed)
    problems.push({ kind: 'undelivered', about: key, what: `Stripe has nothing, the ledger ${want}` });
  return problems;
}
