/** The module rule is lint's: these files break it once in every room, and lint must say so. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;

/** A room, and imports that it must not have. */
const FORBIDDEN: readonly (readonly [room: string, file: string, imports: readonly string[]])[] = [
  ['usage', 'src/usage/x.ts', ['../ledger/ledger.ts', '../errors.ts', '../recent.ts', 'zod', 'node:fs']],
  ['errors', 'src/errors.ts', ['./runtime.ts', 'hono']],
  ['runtime', 'src/runtime.ts', ['./errors.ts', 'node:crypto']],
  ['customer-id', 'src/customer-id.ts', ['./errors.ts', 'zod']],
  ['recent', 'src/recent.ts', ['./runtime.ts', 'node:fs']],
  ['providers', 'providers/x.ts', ['../src/ledger/ledger.ts', '../src/errors.ts', 'node:fs', 'undici']],
  ['a provider of several files', 'providers/vendor/x.ts', ['../../src/gateway/ports.ts', 'hono']],
  ['ledger', 'src/ledger/x.ts', ['../billing/ports.ts', '../errors.ts', 'node:sqlite']],
  ['keys', 'src/keys/x.ts', ['../gateway/ports.ts', '../usage/usage.ts', 'node:crypto']],
  ['billing', 'src/billing/x.ts', ['../gateway/ports.ts', '../keys/keys.ts', 'hono', 'node:fs']],
  ['a room of billing', 'src/billing/delivery/x.ts', ['../../gateway/ports.ts', 'undici']],
  [
    'config',
    'src/config/x.ts',
    ['../gateway/ports.ts', '../billing/prices/prices.ts', '../errors.ts', 'node:fs', 'hono'],
  ],
  ['config.ts', 'src/config.ts', ['./gateway/ports.ts', './platform/sqlite.ts', 'node:fs']],
  ['gateway', 'src/gateway/x.ts', ['../billing/prices/prices.ts', '../platform/sqlite.ts', 'hono', 'stripe']],
  ['app', 'src/app.ts', ['./platform/sqlite.ts', './simulator/stripe.ts', 'node:http']],
  ['assemble', 'src/assemble/assemble.ts', ['../platform/sqlite.ts', '../node.ts', 'undici']],
  ['admin', 'src/admin/admin.ts', ['../platform/sqlite.ts', '../cli/check.ts']],
  ['platform', 'src/platform/x.ts', ['../simulator/stripe.ts', '../app.ts', '../cli/check.ts']],
];

/** What only the edges may touch, and one room for each edge that may. */
const MACHINE = [
  'void fetch',
  'void process',
  'void console',
  'void setTimeout',
  'void crypto',
  'void Buffer',
  'void Date.now()',
  'void Math.random()',
];
const ROOMS_WITHOUT_MACHINE = [
  'src/usage',
  'src/ledger',
  'src/keys',
  'src/billing',
  'src/gateway',
  'src/config',
];
const EDGES = ['src/platform', 'src/simulator', 'src/cli'];

interface Finding {
  readonly code: string;
  readonly filename: string;
  readonly message: string;
}

let folder = '';
let findings: readonly Finding[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'faregate-lint-'));
  cpSync(join(ROOT, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
  for (const [, file, imports] of FORBIDDEN) {
    write(
      file,
      imports.map((from, index) => `import * as x${index} from '${from}';\nvoid x${index};\n`).join(''),
    );
  }
  for (const room of [...ROOMS_WITHOUT_MACHINE, 'providers', ...EDGES]) {
    write(`${room}/machine.ts`, `export function touch(): void {\n${MACHINE.join(';\n')};\n}\n`);
  }
  findings = lint();
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(file: string, text: string): void {
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(join(folder, file), text);
}

function lint(): readonly Finding[] {
  const command = join(ROOT, 'node_modules/.bin/oxlint');
  const { stdout } = spawnSync(command, ['--format', 'json'], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 30_000,
  });
  return (JSON.parse(stdout) as { diagnostics: readonly Finding[] }).diagnostics;
}

const found = (file: string, rule: string): readonly Finding[] =>
  findings.filter(({ filename, code }) => filename === file && code.includes(rule));

describe('lint', () => {
  it.each(FORBIDDEN)('refuses each forbidden import of %s', (_room, file, imports) => {
    expect(found(file, 'no-restricted-imports')).toHaveLength(imports.length);
  });

  it.each([...ROOMS_WITHOUT_MACHINE, 'providers'])(
    'keeps clock, chance, network and process out of %s',
    (room) => {
      const file = `${room}/machine.ts`;
      const refused = [...found(file, 'no-restricted-globals'), ...found(file, 'no-restricted-properties')];
      expect(refused).toHaveLength(MACHINE.length);
    },
  );

  it.each(EDGES)('lets %s touch the machine', (room) => {
    const file = `${room}/machine.ts`;
    expect([...found(file, 'no-restricted-globals'), ...found(file, 'no-restricted-properties')]).toEqual([]);
  });
});

describe('the source', () => {
  it('has no file over 400 lines', () => {
    const long = ['src', 'providers'].flatMap((room) =>
      readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts'))
        .map((name) => `${room}/${name}`)
        .filter((file) => readFileSync(join(ROOT, file), 'utf8').trimEnd().split('\n').length > 400),
    );
    expect(long).toEqual([]);
  });
});
