/** The schema of a tool's parameters, as the strictest vendors want it. */
import type { Tool } from './conversation.ts';
import type { JsonRecord } from './members.ts';

/**
 * A schema of an object that says so and names its members, be they none: Anthropic refuses one without a type, OpenAI one
 * without properties, and either takes what the other refuses. Parameters of another type there are not.
 */
export const toolSchema = (parameters: NonNullable<Tool['parameters']>): JsonRecord =>
  'type' in parameters && 'properties' in parameters
    ? parameters
    : { type: 'object', properties: {}, ...parameters };
