/** Usage as it is kept with its call: JSON in which the classes that counted nothing are left out. */
import { type TokenCounts, type UsageLine, ZERO_TOKENS } from './usage.ts';

const CLASSES = Object.keys(ZERO_TOKENS) as (keyof TokenCounts)[];

export const usageToJson = (lines: readonly UsageLine[]): string => `[${lines.map(lineToJson).join(',')}]`;

/** Written by hand: every call has one, and most of its twelve members are zeros. */
function lineToJson(line: UsageLine): string {
  let members = '';
  for (const name of CLASSES) if (line[name] !== 0) members += `"${name}":${String(line[name])},`;
  if (line.units !== undefined) members += `"units":${JSON.stringify(line.units)},`;
  return `{${members}"servedModel":${JSON.stringify(line.servedModel)}}`;
}

/** Reads what `usageToJson` wrote. */
export const usageFromJson = (json: string): readonly UsageLine[] =>
  (JSON.parse(json) as readonly Partial<UsageLine>[]).map(whole);

const whole = (line: Partial<UsageLine>): UsageLine => ({ ...ZERO_TOKENS, servedModel: null, ...line });
