#!/usr/bin/env node
// Starts the command from source in a checkout and from the build in the published package: Node does not strip
// types inside node_modules, so the package carries JavaScript.
import { existsSync } from 'node:fs';

/**
 * A call leaves some 50 kB of short-lived objects. With the usual 16 MiB for them a busy gateway copies the calls in flight
 * every 350 calls, which is a tenth of its CPU; with 64 it is a fortieth. They are used under load only.
 */
const YOUNG_OBJECTS = '--max-semi-space-size=64';

const source = new URL('../src/cli.ts', import.meta.url);
const build = new URL('../dist/src/cli.js', import.meta.url);
if (Number.parseInt(process.versions.node, 10) < 22) {
  // An older Node would fail on the first import, with a message that says nothing of why.
  process.stderr.write(
    `Faregate needs Node 22.19 or later; this is ${process.version}. In a checkout, "npx faregate" brings its own.\n`,
  );
  process.exitCode = 3;
} else {
  if (process.argv[2] === 'start') withYoungObjects();
  const { main } = await import((existsSync(source) ? source : build).href);
  process.exitCode = await main(process.argv.slice(2));
}

/** Node takes the size at its start only: the process becomes one that has it, unless somebody chose a size already. */
function withYoungObjects() {
  const chosen = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((option) =>
    option.includes('semi-space-size'),
  );
  // Windows cannot do it.
  if (chosen || process.platform === 'win32' || process.execve === undefined) return;
  const [program, ...args] = process.argv;
  try {
    process.execve(program, [program, YOUNG_OBJECTS, ...process.execArgv, ...args]);
  } catch (error) {
    process.emitWarning(
      `Faregate starts with Node's own sizes, which costs CPU under load: ${String(error)}`,
    );
  }
}
