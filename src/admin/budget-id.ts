import type { Budget } from '../ledger/accounts-port.ts';
import type { Crypto } from '../runtime.ts';

/** There is one budget of a subject and span, so its name follows from them. */
export const budgetId = (
  crypto: Pick<Crypto, 'sha256'>,
  { scope, subject, span }: Pick<Budget, 'scope' | 'subject' | 'span'>,
): string => `bud_${crypto.sha256(JSON.stringify([scope, subject, span])).slice(0, 24)}`;
