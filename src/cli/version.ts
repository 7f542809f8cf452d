import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { z } from 'zod';
import { type CommonOptions, addCommand, say } from './command.ts';

/** The package's own version. Source and build lie at different depths below the one package.json. */
export function packageVersion(): string {
  const candidates = ['../../package.json', '../../../package.json'].map(
    (path) => new URL(path, import.meta.url),
  );
  const found = candidates.find((url) => existsSync(url));
  const manifest: unknown = found === undefined ? {} : JSON.parse(readFileSync(found, 'utf8'));
  return z.object({ version: z.string() }).parse(manifest).version;
}

export function registerVersion(program: Command): void {
  addCommand(program, 'version', 'print the version').action((options: CommonOptions) => {
    const version = packageVersion();
    say(options, { version, node: process.version }, () => [`faregate ${version}`]);
  });
}
