/**
 * A response that goes on from an earlier one, which its provider keeps under an account that all customers share: so
 * only from one that the same customer made here, and at the provider that has it.
 */
import type { Endpoint } from '../../providers/provider.ts';
import { Refusal } from '../errors.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { memberValue } from '../usage/json-scanner.ts';
import type { RequestBody } from './read-request.ts';
import type { Target } from './resolve.ts';

/** Endpoints whose requests may go on from an earlier response. */
export const CONTINUES: ReadonlySet<Endpoint> = new Set([
  'responses',
  'responses.compact',
  'responses.input_tokens',
]);

/**
 * Those of the targets that can serve the request: all of them, or the one that keeps what it goes on from.
 *
 * @throws {Refusal} 400 `previous_response_not_found`, as OpenAI answers; 400 for a conversation, which nobody can make here.
 */
export async function continuing(
  targets: readonly Target[],
  { customer, ledger }: { readonly customer: string; readonly ledger: Pick<Ledger, 'storedResponse'> },
  { bytes, scan }: Pick<RequestBody, 'bytes' | 'scan'>,
): Promise<readonly Target[]> {
  const conversation = memberValue(bytes, scan, 'conversation') ?? null;
  if (conversation !== null) {
    throw new Refusal(
      'unsupported_parameter',
      'Conversations are not kept here. Go on from a response by its id, with "previous_response_id".',
      { param: 'conversation' },
    );
  }
  const previous = memberValue(bytes, scan, 'previous_response_id') ?? null;
  if (previous === null) return targets;
  const stored = typeof previous === 'string' ? await ledger.storedResponse(customer, previous) : undefined;
  if (stored === undefined)
    throw notFound(`Previous response with id '${String(previous).slice(0, 128)}' not found.`);
  const able = targets.filter(({ route }) => route.upstream.name === stored.provider);
  if (able.length > 0) return able;
  throw notFound(
    `The response '${stored.responseId}' is kept by the provider "${stored.provider}": name a model of that provider to go on from it.`,
  );
}

const notFound = (message: string): Refusal =>
  new Refusal('previous_response_not_found', message, { param: 'previous_response_id' });
