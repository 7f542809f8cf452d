/** What the official clients are asked for alike, so that one set of expectations holds for all of them. */
import { SERVICE_KEY } from '../gateway.ts';

/** What every client tells of a reply, whatever it calls it. */
export interface Told {
  readonly text: string;
  readonly calls: readonly { readonly name: string; readonly input: unknown }[];
  readonly input: number | undefined;
  readonly output: number | undefined;
}

export interface Front {
  /** The question, a tool offered where `tool` says so; with the answer to its call when `answered` has it. */
  ask(model: string, how: How): Promise<Told>;
  /** The tool's call, answered, and what the model then says. */
  useTool(model: string, stream: boolean): Promise<Told>;
  /** Begins a stream and leaves after its first event. */
  leave(model: string): Promise<void>;
}
export interface How {
  readonly stream: boolean;
  readonly tool?: boolean;
  readonly picture?: boolean;
  readonly json?: boolean;
}

export const QUESTION = 'Where is the fare paid?';
export const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
export const RESULT = '{"fare":240}';
export const FARE = { name: 'get_fare', description: 'The fare of a zone' };
export const SCHEMA = {
  type: 'object',
  properties: { zone: { type: 'integer' } },
  required: ['zone'],
  additionalProperties: false,
} as const;

export interface At {
  readonly url: string;
  readonly customer: string;
}
export const optionsOf = ({ customer }: At) => ({
  apiKey: SERVICE_KEY,
  maxRetries: 0,
  defaultHeaders: { 'x-stripe-customer-id': customer },
});
