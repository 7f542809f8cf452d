/** Why a call did not fit: the money is gone, the call is too dear, or running calls hold what it needs. */
import type { BudgetView, Money } from '../../ledger/accounts-port.ts';
import { formatUsd } from '../../usage/money.ts';
import type { Policy, Refused } from './policy.ts';

interface Needed {
  readonly holdPico: bigint;
  readonly fitPico: bigint;
  readonly policy: Policy;
  readonly topUpUrl: string | null;
}

/** A source of money as the ledger compares it: what is there but for running calls, and what they hold of it. */
interface Room {
  readonly pico: bigint;
  readonly heldPico: bigint;
  readonly budget: BudgetView | null;
}

/** What is gone for longest goes first: it is what the customer must see to. */
export function shortOf(customer: string, money: Money, needed: Needed): Refused {
  const rooms = roomsOf(money, needed.policy);
  const spent = rooms.find((room) => isShort(room.pico, needed));
  if (spent !== undefined)
    return spent.budget === null ? creditGone(customer, spent, needed) : budgetGone(spent, needed);
  const held = rooms.find((room) => isShort(room.pico - room.heldPico, needed)) ?? rooms[0];
  return inFlight(customer, held, needed);
}

const isShort = (free: bigint, { fitPico, holdPico }: Needed): boolean =>
  free < fitPico || (free <= 0n && holdPico > 0n);

function roomsOf(money: Money, policy: Policy): readonly Room[] {
  const credit = BigInt(money.creditPico) - BigInt(money.overdrawnPico) + policy.gracePico;
  const budgets = money.budgets.map((budget) => ({
    pico: BigInt(budget.limitPico) - BigInt(budget.spentPico),
    heldPico: BigInt(budget.heldPico),
    budget,
  }));
  return policy.creditChecked
    ? [{ pico: credit, heldPico: BigInt(money.heldPico), budget: null }, ...budgets]
    : budgets;
}

function creditGone(customer: string, room: Room, needed: Needed): Refused {
  const balancePico = room.pico - needed.policy.gracePico;
  const isExhausted = room.pico <= 0n;
  const has = `${customer} has $${formatUsd(balancePico)} of credit`;
  return {
    kind: 'refused',
    code: isExhausted ? 'credit_balance_exhausted' : 'request_exceeds_balance',
    source: 'credit_balance',
    balancePico,
    requiredPico: needed.fitPico,
    resetsAtMs: null,
    topUpUrl: needed.topUpUrl,
    message: isExhausted
      ? `${has}: it is used up.`
      : `${has}, and this request may cost $${formatUsd(needed.fitPico)}.`,
    remedy: isExhausted
      ? 'Add credit.'
      : 'Add credit, or ask for less: a smaller max_tokens, a shorter prompt.',
  };
}

function budgetGone({ pico, budget }: Room, needed: Needed): Refused {
  const limit = `$${formatUsd(BigInt(budget?.limitPico ?? '0'))}`;
  const whose = budget?.scope === 'key' ? 'this API key' : (budget?.subject ?? '');
  const resets = budget?.resetsAtMs ?? null;
  return {
    kind: 'refused',
    code: 'budget_exceeded',
    source: budget?.id ?? 'budget',
    balancePico: pico,
    requiredPico: needed.fitPico,
    resetsAtMs: resets,
    topUpUrl: null,
    message: `The budget of ${whose} (${limit} a ${budget?.span ?? 'total'}) has $${formatUsd(pico)} left; this request may cost $${formatUsd(needed.fitPico)}.`,
    remedy:
      resets === null
        ? 'Ask the operator to raise it.'
        : 'Wait for its reset, or ask the operator to raise it.',
  };
}

const inFlight = (customer: string, room: Room | undefined, needed: Needed): Refused => ({
  kind: 'refused',
  code: 'in_flight_budget_exceeded',
  source: room?.budget?.id ?? 'credit_balance',
  balancePico: room?.pico ?? null,
  requiredPico: needed.fitPico,
  resetsAtMs: null,
  topUpUrl: null,
  message: `Running calls of ${customer} hold $${formatUsd(room?.heldPico ?? 0n)} of $${formatUsd(room?.pico ?? 0n)}; this request may cost $${formatUsd(needed.fitPico)}.`,
  remedy: 'Try again when running calls are done.',
});
