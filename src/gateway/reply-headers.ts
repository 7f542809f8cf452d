/** The headers the gateway itself sets on a reply. */
import { requestIdHeaders } from '../errors.ts';
import { formatUsd } from '../usage/money.ts';
import type { Call } from './call.ts';
import type { Bill } from './settle.ts';

/** On every reply to a metered call. */
export function callHeaders(call: Call): Record<string, string> {
  return {
    ...requestIdHeaders(call.dialect, call.id),
    'x-faregate-model': headerText(call.target.billedModel),
    ...balanceHeader(call.money?.balancePico),
  };
}

/** A caller names the model as he likes; what cannot stand in a header line is percent-encoded. */
const headerText = (text: string): string => text.replace(/[^\x20-\x7e]+/gu, encodeURIComponent);

/** Credit less what is overdrawn: as the call found it, or, where the head waits for the bill, as it left it. */
const balanceHeader = (pico: string | null | undefined): Record<string, string> =>
  pico == null ? {} : { 'x-faregate-balance': formatUsd(BigInt(pico)) };

/** On a reply whose bill is known before its first byte: neither streamed nor binary. */
export function billHeaders(bill: Bill): Record<string, string> {
  const headers: Record<string, string> = {
    'x-faregate-input-tokens': String(bill.inputTokens),
    'x-faregate-output-tokens': String(bill.outputTokens),
  };
  if (bill.costPico !== null) headers['x-faregate-cost'] = formatUsd(bill.costPico);
  return { ...headers, ...balanceHeader(bill.balancePico) };
}
