/** Google's own schemas, a dialect of OpenAPI's with types in capitals, as JSON Schema. */
import { isRecord } from '../../../src/usage/json-value.ts';
import type { JsonRecord } from '../members.ts';

/** Keys that only order what the vendor writes or shows. */
const DROPPED: ReadonlySet<string> = new Set(['propertyOrdering', 'nullable', 'example']);

export function readSchema(schema: JsonRecord): JsonRecord {
  const nullable = schema['nullable'] === true;
  const read = Object.entries(schema)
    .filter(([key]) => !DROPPED.has(key))
    .map(([key, value]) => [key, readKey(key, value, nullable)] as const);
  return Object.fromEntries(read);
}

function readKey(key: string, value: unknown, nullable: boolean): unknown {
  switch (key) {
    case 'type': {
      const type = typeof value === 'string' ? value.toLowerCase() : value;
      return nullable ? [type, 'null'] : type;
    }
    case 'properties':
    case '$defs':
      return isRecord(value)
        ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, readAny(one)]))
        : value;
    case 'items':
    case 'additionalProperties':
      return readAny(value);
    case 'anyOf':
      return Array.isArray(value) ? [...value.map(readAny), ...(nullable ? [{ type: 'null' }] : [])] : value;
    case 'enum':
      return nullable && Array.isArray(value) && !value.includes(null) ? [...value, null] : value;
    // Google writes counts as decimal text.
    case 'minItems':
    case 'maxItems':
    case 'minLength':
    case 'maxLength':
    case 'minProperties':
    case 'maxProperties':
      return typeof value === 'string' ? Number(value) : value;
    default:
      return value;
  }
}

const readAny = (value: unknown): unknown => (isRecord(value) ? readSchema(value) : value);
