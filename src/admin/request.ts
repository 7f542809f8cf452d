/** What the operator's routes read of a request. */
import type { z } from 'zod';
import { CUSTOMER_ID } from '../customer-id.ts';
import { Refusal } from '../errors.ts';

/**
 * The body's JSON; `whenEmpty`, where it is given, for a body that is none.
 *
 * @throws {Refusal} 400 when it is larger than `charsMax` characters, or no JSON.
 */
export async function bodyOf(request: Request, charsMax: number, whenEmpty?: unknown): Promise<unknown> {
  const text = await request.text();
  if (text.length > charsMax) throw refused('body', 'The body is too large.');
  if (text === '' && whenEmpty !== undefined) return whenEmpty;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw refused('body', `The body is no JSON: ${String(error)}`);
  }
}

/** @throws {Refusal} 400 that names what does not fit the schema. */
export function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const param = issue?.path.join('.') ?? '';
  throw refused(param, `${param === '' ? 'The body' : `"${param}"`}: ${issue?.message ?? 'wrong'}.`);
}

/** @throws {Refusal} 400 for a path's customer that is none. */
export function named(customer: string): string {
  if (CUSTOMER_ID.test(customer)) return customer;
  throw refused('customer', `"${customer.slice(0, 80)}" is no Stripe customer id: it begins with cus_.`);
}

export const refused = (param: string, message: string): Refusal =>
  new Refusal('invalid_request', message, { param });
