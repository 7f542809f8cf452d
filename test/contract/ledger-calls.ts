/** Calls for a ledger's cases, as they are opened and as they end. */
import type { CallToOpen, CallToSettle } from '../../src/ledger/ledger.ts';

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
