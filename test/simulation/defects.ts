/**
 * Twelve ways to be wrong about money, each planted by standing between two parts of the product; the product itself is
 * not touched. The simulation must notice each of them. (That the disk is not waited for shows only when power is lost:
 * that one is planted in test/crash/power-loss.test.ts.)
 */
import type { Transport, Transports } from '../../src/billing/ports.ts';
import type {
  Delivery,
  LeasedEvent,
  Ledger,
  MeterEvent,
  Statement,
  UnsealedLine,
} from '../../src/ledger/ledger.ts';
import type { UsageLine } from '../../src/usage/usage.ts';
import type { Damage, Scene } from './gateway.ts';

export interface Defect {
  readonly name: string;
  readonly damage: Damage;
}

type Send = (events: readonly MeterEvent[]) => Promise<readonly Delivery[]>;

/** The ways, with something between them and whoever sends. */
function sending(change: (send: Send, at: Scene) => Send): NonNullable<Damage['ways']> {
  return (ways: Transports, at): Transports => {
    const changed = (way: Transport): Transport => ({ ...way, send: change(way.send, at) });
    return {
      ...ways,
      choose: (waiting, nowMs) => changed(ways.choose(waiting, nowMs)),
      named(name, nowMs) {
        const way = ways.named(name, nowMs);
        return way === undefined ? undefined : changed(way);
      },
    };
  };
}

/** The ledger's statements, rewritten. */
const rewriting =
  (change: (statement: Statement) => readonly Statement[]): NonNullable<Damage['database']> =>
  (database) => ({ batch: (statements) => database.batch(statements.flatMap(change)) });

const replacing = (pattern: RegExp, by: string): NonNullable<Damage['database']> =>
  rewriting(({ sql, params }) => [{ sql: sql.replaceAll(pattern, by), params }]);

const leasing =
  (change: (events: readonly LeasedEvent[], at: Scene) => Promise<readonly LeasedEvent[]>) =>
  (ledger: Ledger, at: Scene): Ledger => ({
    ...ledger,
    lease: async (request) => change(await ledger.lease(request), at),
  });

/** Answers come by the event's own identifier, whatever it was sent under. */
const underOthers =
  (rename: (identifier: string) => string) =>
  (send: Send): Send =>
  async (events) => {
    const sent = events.map((event) => ({ ...event, identifier: rename(event.identifier) }));
    const answers = new Map((await send(sent)).map((answer) => [answer.identifier, answer]));
    return events.flatMap(({ identifier }, at) => {
      const answer = answers.get(sent[at]?.identifier ?? '');
      return answer === undefined ? [] : [{ ...answer, identifier }];
    });
  };

const refusing = ({ identifier, error }: Extract<Delivery, { kind: 'ambiguous' }>): Delivery => ({
  identifier,
  kind: 'refused',
  error,
});

const withOutput = (line: UsageLine, textOutput: number): UsageLine => ({ ...line, textOutput });
const endingAt = (line: UnsealedLine, endedAtMs: number): UnsealedLine => ({ ...line, endedAtMs });

export const DEFECTS: readonly Defect[] = [
  {
    name: 'the identifier differs at each attempt',
    damage: {
      ways: sending((send, { dice }) =>
        underOthers((identifier) => `${identifier}_${dice.below(1e9)}`)(send),
      ),
    },
  },
  {
    name: 'an event is marked accepted before it is sent',
    damage: {
      ledger: leasing(async (events, { ledger, runtime }) => {
        const taken = events.map(({ identifier }) => ({ identifier, kind: 'accepted' }) as const);
        await ledger.mark(taken, runtime.now());
        return events;
      }),
    },
  },
  {
    name: 'the settlement is written after the caller was told',
    damage: {
      settler: (settler, { runtime }) => ({
        ...settler,
        settle(call, ending, measured) {
          runtime.after(1, () => runtime.defer(settler.settle(call, ending, measured)));
          return Promise.resolve({
            inputTokens: 0,
            outputTokens: 0,
            costPico: null,
            usageSource: 'reported',
          });
        },
      }),
    },
  },
  {
    name: 'an ambiguous event is sent again past the 23 hours',
    damage: {
      ledger: leasing((events, { runtime }) =>
        Promise.resolve(events.map((event) => ({ ...event, firstAttemptAtMs: runtime.now() }))),
      ),
    },
  },
  {
    name: 'a hold is not released',
    damage: {
      database: replacing(/ended_at_ms IS NULL AND hold_pico IS NOT NULL/g, 'hold_pico IS NOT NULL'),
    },
  },
  {
    name: 'a count of zero is taken for none, and estimated',
    damage: {
      settler: (settler) => ({
        ...settler,
        measure(call, ending) {
          const measured = settler.measure(call, ending);
          const estimate = ending.reader?.estimate().outputTokens ?? 0;
          return measured.usageSource !== 'reported'
            ? measured
            : {
                ...measured,
                usage: measured.usage.map((one) => withOutput(one, one.textOutput || estimate)),
              };
        },
      }),
    },
  },
  {
    name: 'the end of a call is lost when its caller leaves',
    damage: {
      settler: (settler) => ({
        ...settler,
        settle: (call, ending, measured) =>
          ending.outcome === 'caller_left'
            ? new Promise(() => undefined)
            : settler.settle(call, ending, measured),
      }),
    },
  },
  {
    name: 'a line is sealed into two events',
    damage: {
      database: rewriting((statement) => {
        const [identifier, ...rest] = statement.params;
        return /^\s*INSERT INTO meter_events/.test(statement.sql)
          ? [statement, { ...statement, params: [`${String(identifier)}_again`, ...rest] }]
          : [statement];
      }),
    },
  },
  {
    name: "an event has the time of its sending, not of its call's end",
    damage: {
      ledger: (ledger, { runtime }) => ({
        ...ledger,
        unsealed: async (limit, scope) =>
          (await ledger.unsealed(limit, scope)).map((line) => endingAt(line, runtime.now())),
      }),
    },
  },
  {
    name: 'an ambiguous answer is taken for a refusal',
    damage: {
      ways: sending(
        (send) => async (events) =>
          (await send(events)).map((answer) => (answer.kind === 'ambiguous' ? refusing(answer) : answer)),
      ),
    },
  },
  {
    name: 'recovery bills nothing of what is on record',
    damage: {
      database: replacing(/SELECT id, checkpoint_json, CASE/g, 'SELECT id, NULL AS checkpoint_json, CASE'),
    },
  },
  {
    name: 'recovery bills more than the evidence shows',
    damage: {
      ledger: (ledger) => ({
        ...ledger,
        checkpoint: (checkpoint) =>
          ledger.checkpoint({
            ...checkpoint,
            lines: checkpoint.lines.map((line) => ({ ...line, tokens: line.tokens * 100 })),
          }),
      }),
    },
  },
];

/** Lives after which a defect that was not noticed counts as missed. The rarest takes days of doubt, and shows in one of 200. */
export const UNNOTICED_MAX = 1_500;
