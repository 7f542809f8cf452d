#!/usr/bin/env node
// Starts the command from source in a checkout and from the build in the published package: Node does not strip
// types inside node_modules, so the package carries JavaScript.
import { existsSync } from 'node:fs';

const source = new URL('../src/cli.ts', import.meta.url);
const build = new URL('../dist/src/cli.js', import.meta.url);
if (Number.parseInt(process.versions.node, 10) < 22) {
  // An older Node would fail on the first import, with a message that says nothing of why.
  process.stderr.write(
    `Faregate needs Node 22.19 or later; this is ${process.version}. In a checkout, "npx faregate" brings its own.\n`,
  );
  process.exitCode = 3;
} else {
  const { main } = await import((existsSync(source) ? source : build).href);
  process.exitCode = await main(process.argv.slice(2));
}
