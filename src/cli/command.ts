/** What every command shares: exit codes, its failure, and the two ways of saying things. */
import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { type Problem, type Purpose, type Settings, problemText, settingsFor } from '../config.ts';
import { priceWarnings } from '../assemble/price-warnings.ts';

export const EXIT = { ok: 0, problem: 1, usage: 2, configuration: 3, network: 4 } as const;

/** Ends the command with an exit code; `lines` say why and what to do. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly exitCode: number;
  readonly problems: readonly Problem[];
  constructor(exitCode: number, message: string, problems: readonly Problem[] = []) {
    super(message);
    this.exitCode = exitCode;
    this.problems = problems;
  }
}

/** Options that most commands have. */
export interface CommonOptions {
  readonly json?: true;
  readonly config?: string;
}

/** A command with the options that all have. */
export function addCommand(parent: Command, usage: string, summary: string): Command {
  return parent.command(usage).description(summary).option('--json', 'print JSON, for programs');
}

/** The same for a command that reads the configuration. */
export function addConfiguredCommand(parent: Command, usage: string, summary: string): Command {
  return addCommand(parent, usage, summary).option(
    '--config <file>',
    'configuration file (default: $FAREGATE_CONFIG, else ./faregate.yaml if there is one)',
  );
}

/** Prints the result: as JSON, or as lines for a person. */
export function say(options: CommonOptions, json: unknown, lines: () => readonly string[]): void {
  const text = options.json === true ? JSON.stringify(json, null, 2) : lines().join('\n');
  if (text !== '') process.stdout.write(`${text}\n`);
}

export const readFile = (path: string): string | undefined =>
  existsSync(path) ? readFileSync(path, 'utf8') : undefined;

/** The settings, with warnings on stderr. Throws `CommandFailure` with everything that is wrong. */
export function loadSettings(purpose: Purpose, options: CommonOptions): Settings {
  const result = settingsFor(purpose, { env: process.env, readFile, configPath: options.config });
  if (result.kind === 'invalid') throw configurationFailure(result.problems, result.configPath);
  const warnings = [...result.warnings, ...priceWarnings(result.settings)];
  for (const warning of purpose === 'read' ? [] : warnings) {
    process.stderr.write(`warning: ${problemText(warning, result.settings.configPath ?? '')}\n`);
  }
  return result.settings;
}

export function configurationFailure(
  problems: readonly Problem[],
  configPath: string | null,
): CommandFailure {
  const lines = problems.map((problem) => problemText(problem, configPath ?? 'faregate.yaml'));
  const count = problems.length === 1 ? '1 problem' : `${String(problems.length)} problems`;
  return new CommandFailure(
    EXIT.configuration,
    [`${count} in the configuration:`, ...lines].join('\n  '),
    problems,
  );
}

/** Columns as wide as their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = header.map((title, column) =>
    rows.reduce((width, row) => Math.max(width, (row[column] ?? '').length), title.length),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [header, ...rows].map(line);
}
