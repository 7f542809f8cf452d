import type { Command } from 'commander';
import { type Problem, type Settings, configJsonSchema, problemText, settingsFor } from '../config.ts';
import {
  type CommonOptions,
  EXIT,
  addCommand,
  addConfiguredCommand,
  configurationFailure,
  readFile,
  say,
} from './command.ts';
import { priceWarnings } from '../assemble/price-warnings.ts';

export function registerCheck(program: Command): void {
  addConfiguredCommand(program, 'check [file]', 'is the configuration valid? asks nobody, changes nothing')
    .addHelpText(
      'after',
      '\nExits 0 when file and environment are valid, 3 when not. What only "start" needs is said as a warning.',
    )
    .action((file: string | undefined, options: CommonOptions) => check(file ?? options.config, options));
  addCommand(program, 'schema', "print the configuration file's JSON Schema").action(() =>
    say({ json: true }, configJsonSchema(), () => []),
  );
}

function check(configPath: string | undefined, options: CommonOptions): void {
  const sources = { env: process.env, readFile, configPath };
  const result = settingsFor('read', sources);
  if (result.kind === 'invalid') throw configurationFailure(result.problems, result.configPath);
  const start = settingsFor('start', sources);
  const wants = start.kind === 'ok' ? start.warnings : [...start.problems, ...result.warnings];
  const lacking = [...wants, ...priceWarnings(result.settings)];
  const warnings = lacking.filter(
    ({ path, message }, index) =>
      lacking.findIndex((other) => other.path === path && other.message === message) === index,
  );
  const { settings } = result;
  say(
    options,
    {
      ok: true,
      config: settings.configPath,
      exit_code: EXIT.ok,
      problems: [],
      warnings,
      ready_to_start: start.kind === 'ok',
    },
    () => lines(settings, warnings),
  );
}

function lines(settings: Settings, warnings: readonly Problem[]): readonly string[] {
  const { configPath, upstreams, aliases, prices } = settings;
  const providers =
    upstreams
      .map(({ name, type, baseUrl }) => `${name} (${type === name ? '' : `${type}, `}${baseUrl})`)
      .join(', ') || 'none';
  return [
    `ok       ${configPath ?? 'no configuration file; the defaults and the environment'}`,
    `ok       providers on: ${providers}`,
    `ok       ${String(aliases.size)} aliases, ${String(prices.size)} price overrides`,
    ...warnings.map((warning) => `warning  ${problemText(warning, configPath ?? '')}`),
  ];
}
