/** `faregate export` and `faregate import`: files of any size, a piece at a time. */
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Argument, type Command } from 'commander';
import { z } from 'zod';
import { EXPORT_KINDS } from '../billing/bulk/exporter.ts';
import { type AdminFetch, ask, query, withAdmin } from './admin.ts';
import {
  CommandFailure,
  type CommonOptions,
  EXIT,
  addConfiguredCommand,
  loadSettings,
  say,
} from './command.ts';
import { customerId } from './keys.ts';

interface ExportOptions extends CommonOptions {
  readonly from?: string;
  readonly to?: string;
  readonly customer?: string;
  readonly format?: string;
  readonly plain?: true;
  readonly output?: string;
}
interface ImportOptions extends CommonOptions {
  readonly format?: string;
  readonly dryRun?: true;
}

const reportSchema = z.looseObject({
  imported: z.int(),
  already: z.int(),
  errors: z.array(z.looseObject({ line: z.int(), message: z.string() })),
});
type Report = z.output<typeof reportSchema>;

/** Lines sent at once. */
const LINES_AT_ONCE = 500;
/** Errors shown; all of them are counted. */
const ERRORS_SHOWN = 100;

export function registerBulk(program: Command): void {
  addConfiguredCommand(
    program,
    'export',
    'events (as Stripe takes them in bulk), lines or calls, as JSON lines or CSV',
  )
    .addArgument(new Argument('[kind]', 'what of it').choices(EXPORT_KINDS).default('events'))
    .option('--from <time>', 'a day, a moment or seconds')
    .option('--to <time>', 'the same; up to, not including')
    .option('--customer <cus_…>', "only this customer's", customerId)
    .option('--format <format>', 'jsonl or csv (default: by the name of --output, else jsonl)')
    .option('--plain', "Stripe's own members only; what Stripe has already is in it too")
    .option('--output <file>', 'where to (default: standard output)')
    .action(exportTo);
  addConfiguredCommand(
    program,
    'import <file>',
    'usage records as billable lines, each once by its identifier; - reads standard input',
  )
    .option('--format <format>', 'jsonl or csv (default: by the name of the file, else jsonl)')
    .option('--dry-run', 'only say what would be')
    .action(importFrom);
}

async function exportTo(kind: string, options: ExportOptions): Promise<void> {
  const { from, to, customer, output } = options;
  const format = formatOf(options.format, output ?? '');
  const parts = { from, to, customer, format, plain: options.plain === true ? '1' : undefined };
  await withAdmin(loadSettings('read', options), async (admin) => {
    const path = `/export/${encodeURIComponent(kind)}${query(parts)}`;
    const response = await admin(path, { signal: new AbortController().signal }).catch((error: unknown) => {
      throw new CommandFailure(EXIT.network, `The gateway did not answer: ${String(error)}`);
    });
    // A refusal is short, and says why.
    if (!response.ok || response.body === null)
      return ask(async () => response, { path }, z.never()).then(() => undefined);
    await written(Readable.from(response.body), output);
  });
}

/** A file appears when it is whole. */
async function written(from: Readable, output: string | undefined): Promise<void> {
  try {
    if (output === undefined) {
      await pipeline(from, process.stdout, { end: false });
      return;
    }
    await pipeline(from, createWriteStream(`${output}.part`));
    await rename(`${output}.part`, output);
  } catch (error) {
    if (output !== undefined) await rm(`${output}.part`, { force: true });
    throw new CommandFailure(EXIT.network, `The export broke off: ${String(error)}`);
  }
}

async function importFrom(file: string, options: ImportOptions): Promise<void> {
  const format = formatOf(options.format, file);
  const total: Report = { imported: 0, already: 0, errors: [] };
  await withAdmin(loadSettings('read', options), async (admin) => {
    for await (const part of partsOf(file, format)) {
      const report = await sent(admin, part, { format, dryRun: options.dryRun });
      total.imported += report.imported;
      total.already += report.already;
      total.errors.push(...report.errors);
    }
  });
  const verb = options.dryRun === true ? 'would be imported' : 'imported';
  const hidden = total.errors.length - ERRORS_SHOWN;
  say(options, { dry_run: options.dryRun === true, ...total }, () => [
    ...total.errors.slice(0, ERRORS_SHOWN).map(({ line, message }) => `line ${String(line)}: ${message}`),
    ...(hidden > 0 ? [`and ${String(hidden)} more lines`] : []),
    `${String(total.imported)} ${verb}, ${String(total.already)} were there already, ${String(total.errors.length)} at fault`,
  ]);
  if (total.errors.length > 0) process.exitCode = EXIT.problem;
}

interface Part {
  readonly text: string;
  readonly firstLine: number;
}

const sent = (
  admin: AdminFetch,
  { text, firstLine }: Part,
  { format, dryRun }: { format: string; dryRun: true | undefined },
): Promise<Report> => {
  const parts = { format, line: String(firstLine), dry_run: dryRun === true ? '1' : undefined };
  const path = `/import${query(parts)}`;
  const send: AdminFetch = (route, init) => admin(route, { ...init, body: text });
  return ask(send, { path, method: 'POST' }, reportSchema);
};

/** The file in pieces of whole lines; of CSV each begins with the names of the columns. */
async function* partsOf(file: string, format: string): AsyncGenerator<Part> {
  const input = file === '-' ? process.stdin : createReadStream(file);
  const opened = new Promise<void>((resolve, reject) => {
    if (file === '-') resolve();
    else input.once('open', () => resolve()).once('error', reject);
  });
  await opened.catch((error: unknown) => {
    throw new CommandFailure(EXIT.usage, `Cannot read ${file}: ${String(error)}`);
  });
  let header: string | undefined;
  let lines: string[] = [];
  let number = 0;
  const part = (): Part => {
    const head = header === undefined ? [] : [header];
    return { text: [...head, ...lines].join('\n'), firstLine: number - lines.length + 1 };
  };
  for await (const line of createInterface({ input, crlfDelay: Infinity })) {
    number += 1;
    if (format === 'csv' && header === undefined) {
      header = line.replace(/^\uFEFF/, '');
      continue;
    }
    lines.push(line);
    if (lines.length < LINES_AT_ONCE) continue;
    yield part();
    lines = [];
  }
  if (lines.length > 0) yield part();
}

function formatOf(format: string | undefined, file: string): 'jsonl' | 'csv' {
  const wanted = format ?? (/\.csv$/i.test(file) ? 'csv' : 'jsonl');
  if (wanted === 'jsonl' || wanted === 'csv') return wanted;
  throw new CommandFailure(EXIT.usage, `--format must be jsonl or csv, not "${wanted}".`);
}
