/** One call through a test gateway, read to its end, with what the ledger holds of it. */
import { type AdminCall, CUSTOMER, SERVICE_KEY, type TestGateway } from './gateway.ts';

export interface Got {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The connection broke before the reply's end. */
  readonly broken: boolean;
  readonly call: AdminCall;
}

export interface Wanted {
  readonly model: string;
  readonly stream?: boolean;
  readonly path?: string;
  /** Further members of the body. */
  readonly more?: Readonly<Record<string, unknown>>;
  /** Given the first of the text, as soon as it is there. */
  readonly first?: ((text: string) => void) | undefined;
  /** Told when the reply has ended, however it did. */
  readonly seen?: () => void;
}

const QUESTION = [{ role: 'user', content: 'What of the fare?' }];

/** Calls; answers once the head of the reply is there. */
export function ask(gateway: TestGateway, wanted: Wanted): Promise<Response> {
  const { model, stream = false, path = '/v1/chat/completions', more = {} } = wanted;
  return fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'x-stripe-customer-id': CUSTOMER },
    body: JSON.stringify({ model, ...(stream ? { stream } : {}), messages: QUESTION, ...more }),
  });
}

/** Calls, reads what comes, and waits until everything is delivered. */
export async function callThrough(gateway: TestGateway, wanted: Wanted): Promise<Got> {
  const reply = await ask(gateway, wanted);
  let text = '';
  let broken = false;
  const decoder = new TextDecoder();
  try {
    for await (const bytes of reply.body ?? []) {
      text += decoder.decode(bytes, { stream: true });
      wanted.first?.(text);
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    broken = true;
  }
  wanted.seen?.();
  await gateway.flushed();
  const call = await callOf(gateway, reply);
  return { status: reply.status, headers: reply.headers, text, broken, call };
}

/** What the ledger holds of the call that was so answered. */
export const callOf = (gateway: TestGateway, { headers }: Response): Promise<AdminCall> =>
  callById(gateway, headers.get('x-request-id') ?? '');

export async function callById(gateway: TestGateway, id: string): Promise<AdminCall> {
  const { data } = await gateway.admin<{ data: AdminCall[] }>(`/calls?id=${id}`);
  const [call] = data;
  if (call === undefined) throw new Error(`no call ${id}`);
  return call;
}
