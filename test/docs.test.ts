/** What the documents claim, held against the source. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { configJsonSchema } from '../src/config.ts';
import { ENDPOINTS } from '../src/gateway/endpoints.ts';
import { type Preset, PRESETS } from '../providers/presets.ts';
import { ERRORS } from '../src/errors.ts';
import { FAULT_KINDS } from '../src/simulator/faults.ts';

const ROOT = new URL('..', import.meta.url).pathname;
const text = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const sources = ['src', 'providers'].flatMap((room) =>
  readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${room}/${name}`),
);
const DOCUMENTS = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** The cells of a document's table rows that begin with code, without the code marks. */
const rowsOf = (document: string): readonly (readonly string[])[] =>
  text(document)
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly default?: unknown;
}

/** Every key that may be written in the file, dotted, with its default; `<name>` stands for a name of the operator's. */
function keysOf(node: SchemaNode, path = ''): readonly (readonly [string, unknown])[] {
  if (node.properties !== undefined) {
    return Object.entries(node.properties).flatMap(([key, inner]) =>
      keysOf(inner, path === '' ? key : `${path}.${key}`),
    );
  }
  return typeof node.additionalProperties === 'object'
    ? keysOf(node.additionalProperties, `${path}.<name>`)
    : [[path, node.default]];
}

const asWritten = (value: unknown): string => {
  if (value === undefined) return 'none';
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value);
};

const number = (expression: string): number =>
  expression.split('*').reduce((product, factor) => product * Number(factor.replaceAll('_', '')), 1);

/** The routes that a file has, as method and path. */
const routes = (file: string, prefix: string): readonly string[] =>
  [...text(file).matchAll(/\b(?:app|admin)\.(get|post|delete)\(['`]([^'`]+)['`]/g)].map(
    ([, method = '', path = '']) =>
      `${method.toUpperCase()} ${prefix}${path.replace('${version}', ':version').replace(/\{[^}]*\}/g, '')}`,
  );

describe('docs/configuration.md', () => {
  const rows = rowsOf('docs/configuration.md');

  it('has every key of the configuration file with its default, and no other', () => {
    const documented = rows
      .filter(([name]) => /^[a-z]/.test(name ?? ''))
      .map(([name, initial]) => `${name} = ${initial}`);
    const known = keysOf(configJsonSchema() as SchemaNode).map(
      ([path, initial]) => `${path} = ${asWritten(initial)}`,
    );
    expect(documented.toSorted()).toEqual(known.toSorted());
  });

  it('has every variable of the environment, and no other', () => {
    const list = /const VARIABLES = \[([^\]]*)\]/.exec(text('src/config/environment.ts'))?.[1] ?? '';
    const known = [...list.matchAll(/'(\w+)'/g)].map(([, name]) => name);
    const documented = rows.map(([name]) => name).filter((name) => /^[A-Z]/.test(name ?? ''));
    expect(documented.toSorted()).toEqual(known.toSorted());
  });
});

describe('docs/errors.md', () => {
  const rows = rowsOf('docs/errors.md');

  it('has the table of errors as it is in the source', () => {
    const documented = rows.filter((row) => row.length === 6);
    const known = Object.entries(ERRORS).map(([code, kind]) => [
      code,
      String(kind.status),
      kind.type,
      kind.anthropic,
      kind.gemini,
      'shouldRetry' in kind ? String(kind.shouldRetry) : '-',
    ]);
    expect(documented.toSorted()).toEqual(known.toSorted());
  });

  it('says of every code when it comes, or that nothing raises it yet', () => {
    const explained = rows.filter((row) => row.length === 3).map(([code]) => code);
    const unraised = text('docs/errors.md').split('raised by nothing yet')[1] ?? '';
    const named = [...explained, ...[...unraised.matchAll(/`(\w+)`/g)].map(([, code]) => code)];
    expect(named.toSorted()).toEqual(Object.keys(ERRORS).toSorted());
  });

  it('says "raised by nothing yet" only of codes that no refusal is made with', () => {
    const unraised = text('docs/errors.md').split('raised by nothing yet')[1] ?? '';
    const all = sources.map((file) => text(file)).join('\n');
    const raised = [...unraised.matchAll(/`(\w+)`/g)]
      .map(([, code]) => code)
      .filter((code) => new RegExp(`Refusal\\(\\s*'${code}'`).test(all));
    expect(raised).toEqual([]);
  });
});

describe('ARCHITECTURE.md', () => {
  /** Named bounds at the top of a file; the simulator's and the command's own are of no account. */
  const BOUND =
    /^(?:export )?const ([A-Z][A-Z0-9_]*_(?:MAX|MIN|MS|S|LINES|FIRST|BATCH|TRIES|CHOICE)) = ([\d_ *]+);/gm;
  const limits = rowsOf('ARCHITECTURE.md').filter((row) => row.length === 4);
  const documented = new Map(
    limits.map(([name, value, file]) => [`${file} ${name}`, Number(value?.replaceAll(',', ''))]),
  );

  it('lists every bound that has a name in the code, with its value', () => {
    const known = sources
      .filter((file) => !/^src\/(simulator|cli)\//.test(file))
      .flatMap((file) =>
        [...text(file).matchAll(BOUND)].map(
          ([, name, value = '']) => [`${file} ${name}`, number(value)] as const,
        ),
      );
    const differing = known.filter(([name, value]) => documented.get(name) !== value);
    expect(differing).toEqual([]);
  });

  it('lists no bound that the code has not', () => {
    const gone = limits.filter(([name, value, file]) => {
      const written = new RegExp(`\\b${name}(?: =|:) ([\\d_ *]+)[;, ]`).exec(text(file ?? ''))?.[1];
      return written === undefined || number(written) !== Number(value?.replaceAll(',', ''));
    });
    expect(gone).toEqual([]);
  });
});

describe('docs/providers.md', () => {
  it('has the table of vendors as it is in the source', () => {
    const known = Object.entries(PRESETS).map(([type, preset]: [string, Preset]) => [
      type,
      preset.dialect,
      preset.baseUrl ?? `yours: ${preset.example}`,
      `${preset.keyVariable ?? 'none'}${preset.keyHeader === undefined ? '' : ` as ${preset.keyHeader}`}`,
      preset.endpoints.join(', '),
      preset.asksUsage ? 'asked for' : 'unasked',
    ]);
    expect(rowsOf('docs/providers.md')).toEqual(known);
  });
});

describe('docs/sandbox.md', () => {
  it('has every kind of fault, and no other', () => {
    const [, list = ''] = /^Kinds of fault: ([^]*?)\.\n/m.exec(text('docs/sandbox.md')) ?? [];
    const documented = [...list.matchAll(/`(\w+)`/g)].map(([, kind]) => kind);
    expect(documented.toSorted()).toEqual(FAULT_KINDS.toSorted());
  });
});

describe('docs/operations.md', () => {
  const named = rowsOf('docs/operations.md').map(([name = '']) => name);

  it('has every route of the application', () => {
    const inference = Object.values(ENDPOINTS).map(({ path, modelFrom }) =>
      modelFrom === 'body' ? `POST ${path.replace(/\{.*\}/, '')}` : `POST /:version/models/:model:${path}`,
    );
    // The one route that is written with a pattern stands for all with the model in the path.
    const fixed = routes('src/app.ts', '').filter((route) => !route.includes('/:rest'));
    const known = [
      ...fixed,
      ...inference,
      ...routes('src/admin/admin.ts', '/admin/v1'),
      ...routes('src/admin/books.ts', '/admin/v1'),
      ...routes('src/admin/bulk.ts', '/admin/v1'),
      ...routes('src/admin/keys.ts', '/admin/v1'),
      ...routes('src/admin/money.ts', '/admin/v1'),
      ...routes('src/admin/top-ups.ts', '/admin/v1'),
    ];
    const documented = named
      .flatMap((cell) => cell.split(', '))
      .filter((cell) => /^(GET|POST|DELETE) /.test(cell));
    expect(documented.toSorted()).toEqual(known.toSorted());
  });

  it('has every command', () => {
    const commands = sources.filter((file) => file.startsWith('src/cli/')).map((file) => text(file));
    const registered = [
      ...commands
        .join('\n')
        .matchAll(/(?:addCommand|addConfiguredCommand)\(\s*program,\s*'(\w+)|program\.command\('(\w+)/g),
    ].map(([, direct, group]) => direct ?? group);
    const documented = named.map((cell) => cell.split(' ')[0]).filter((word) => registered.includes(word));
    expect(documented.toSorted()).toEqual(registered.toSorted());
  });
});

describe.each(DOCUMENTS)('%s', (document) => {
  it('names no file that is not there', () => {
    const content = text(document);
    const folder = join(document, '..');
    const named = [...content.matchAll(/`((?:src|providers|test|docs|bench|bin|\.ci)\/[^`<*…\s]*)`/g)].map(
      ([, path]) => path ?? '',
    );
    const linked = [...content.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path]) =>
      join(folder, path ?? ''),
    );
    expect([...named, ...linked].filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('links to no heading that is not there', () => {
    const content = text(document);
    const missing = [...content.matchAll(/\]\(([^)#]*)#([^)]+)\)/g)].filter(([, path = '', anchor = '']) => {
      const target = path === '' ? content : text(join(document, '..', path));
      const headings = [...target.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
        heading
          .toLowerCase()
          .replaceAll(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      );
      return !headings.includes(anchor);
    });
    expect(missing).toEqual([]);
  });
});
