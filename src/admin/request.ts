/** What the operator's routes read of a request. */
import { z } from 'zod';
import { CUSTOMER_ID } from '../customer-id.ts';
import { Refusal } from '../errors.ts';
import { textUpTo } from '../request-body.ts';

/** The operator's bodies are a few settings. */
export const BODY_BYTES_MAX = 65_536;

/**
 * The body as the schema has it; no body is `whenEmpty`, where that is given.
 *
 * @throws {Refusal} 413 as soon as it is too long; 400 when it is no JSON, or does not fit, by name.
 */
export async function sent<T>(request: Request, schema: z.ZodType<T>, whenEmpty?: object): Promise<T> {
  return parse(schema, jsonOf(await textUpTo(BODY_BYTES_MAX, request), whenEmpty));
}

/**
 * For a route that has nothing to say.
 *
 * @throws {Refusal} 400 for a body that says something.
 */
export const sentNothing = (request: Request): Promise<unknown> => sent(request, nothing, {});
const nothing = z.strictObject({});

function jsonOf(text: string, whenEmpty: object | undefined): unknown {
  if (text === '' && whenEmpty !== undefined) return whenEmpty;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw refused('body', `The body is no JSON: ${String(error)}`);
  }
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
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
