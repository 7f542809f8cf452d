/** `${NAME}`, `${NAME:-default}` and `${NAME:?message}` in a string value; `$${` stands for a literal `${`. */
import type { Env } from './document.ts';

export interface Substitution {
  readonly text: string;
  /** Whether anything of the text came from a variable. */
  readonly used: boolean;
  /** The first plain `${NAME}` whose variable is unset or empty. */
  readonly unset?: string | undefined;
  readonly problem?: string | undefined;
}

const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const BODY = /^([A-Za-z_]\w*)(?::([-?])([\s\S]*))?$/;

export function substitute(value: string, env: Env): Substitution {
  let used = false;
  let unset: string | undefined;
  let problem: string | undefined;
  const text = value.replaceAll(
    REFERENCE,
    (whole: string, body: string | undefined, close: string | undefined) => {
      if (body === undefined) return '${';
      const [, name, operator, rest] = BODY.exec(body) ?? [];
      if (name === undefined || close !== '}') {
        problem ??=
          'a variable is written ${NAME}, ${NAME:-default} or ${NAME:?message}; for a literal ${ write $${';
        return whole;
      }
      used = true;
      const found = env[name] ?? '';
      if (found !== '' || operator === '-') return found === '' ? (rest ?? '') : found;
      if (operator === '?')
        problem ??= `${name} is not set: ${rest === undefined || rest === '' ? 'it is required' : rest}`;
      else unset ??= name;
      return '';
    },
  );
  return { text, used, unset, problem };
}

/** The names a text refers to, so that only those are read from files. */
export function referencedVariables(text: string): readonly string[] {
  const names = new Set<string>();
  for (const match of text.matchAll(REFERENCE)) {
    const name = BODY.exec(match[1] ?? '')?.[1];
    if (name !== undefined) names.add(name);
  }
  return [...names];
}
