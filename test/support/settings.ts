/** Settings of a gateway for a test, from an environment and the text of a configuration file. */
import { problemText, type Settings, settingsFor } from '../../src/config.ts';

export function settingsOf(env: Readonly<Record<string, string>>, yaml: string): Settings {
  const readFile = (path: string): string | undefined => (path === './faregate.yaml' ? yaml : undefined);
  const result = settingsFor('start', { env, readFile });
  if (result.kind === 'ok') return result.settings;
  throw new Error(result.problems.map((problem) => problemText(problem, 'faregate.yaml')).join('\n'));
}
