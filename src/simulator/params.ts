/** Request parameters, checked by a zod schema, refused in Stripe's words. */
import { z } from 'zod';
import { invalid, StripeFailure } from './http.ts';

/** Answers with the parsed parameters or throws Stripe's 400 for the first one at fault. */
export function parseParams<T>(schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw refusalOf(result.error.issues[0]);
}

/** The same for v2, whose refusals carry the code `invalid_fields`. */
export function parseV2Params<T>(schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new StripeFailure({
    status: 400,
    code: 'invalid_fields',
    message: `${issue === undefined ? 'body' : name(issue.path)}: ${issue?.message ?? 'invalid'}`,
  });
}

/** A whole number, which v1 carries as text. */
export const integer = z
  .union([z.string().regex(/^-?\d{1,15}$/, 'must be an integer'), z.number().int()])
  .transform(Number);

/** Seconds since the epoch. */
export const seconds = integer.refine((value) => value >= 0, 'must be a timestamp');

/** `expand` is taken and ignored: the simulator's objects refer by id. */
export const expand = { expand: z.unknown().optional() };

export const metadata = z.union([z.record(z.string().max(40), z.string().max(500)), z.literal('')]);

export const paging = {
  limit: integer.refine((value) => value >= 1 && value <= 100, 'must be between 1 and 100').optional(),
  starting_after: z.string().optional(),
  ending_before: z.string().optional(),
  ...expand,
};

interface Paging {
  limit?: number | undefined;
  starting_after?: string | undefined;
  ending_before?: string | undefined;
}

/** One page of a list. Items come newest first. Throws `resource_missing` for a cursor that names nothing. */
export function page<T extends { id: string }>(items: readonly T[], paged: Paging, url: string): unknown {
  const limit = paged.limit ?? 10;
  if (paged.ending_before !== undefined) {
    const end = indexOf(items, paged.ending_before, 'ending_before');
    const begin = Math.max(0, end - limit);
    return { object: 'list', data: items.slice(begin, end), has_more: begin > 0, url };
  }
  const begin =
    paged.starting_after === undefined ? 0 : indexOf(items, paged.starting_after, 'starting_after') + 1;
  const data = items.slice(begin, begin + limit);
  return { object: 'list', data, has_more: begin + data.length < items.length, url };
}

function indexOf(items: readonly { id: string }[], id: string, param: string): number {
  const index = items.findIndex((item) => item.id === id);
  if (index === -1) throw invalid(`No such object: '${id}'`, { code: 'resource_missing', param });
  return index;
}

function refusalOf(issue: z.core.$ZodIssue | undefined): StripeFailure {
  if (issue === undefined) return invalid('Invalid request.');
  if (issue.code === 'unrecognized_keys') {
    const param = name([...issue.path, issue.keys[0] ?? '']);
    return invalid(`Received unknown parameter: ${param}`, { code: 'parameter_unknown', param });
  }
  const param = name(issue.path);
  if (/received undefined/.test(issue.message)) {
    return invalid(`Missing required param: ${param}.`, { code: 'parameter_missing', param });
  }
  return invalid(`Invalid ${param}: ${issue.message}`, { param });
}

const name = (path: readonly PropertyKey[]): string =>
  path.map((part, index) => (index === 0 ? String(part) : `[${String(part)}]`)).join('');
