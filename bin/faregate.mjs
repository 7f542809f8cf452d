#!/usr/bin/env node
// Starts the command from source in a checkout and from the build in the published package: Node does not strip
// types inside node_modules, so the package carries JavaScript.
import { existsSync } from 'node:fs';

const source = new URL('../src/cli.ts', import.meta.url);
const build = new URL('../dist/src/cli.js', import.meta.url);
const { main } = await import((existsSync(source) ? source : build).href);
process.exitCode = await main(process.argv.slice(2));
