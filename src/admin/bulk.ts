/** `/admin/v1/export` and `/admin/v1/import`: usage in bulk. */
import { Hono } from 'hono';
import { momentOf } from './books.ts';
import type { BulkFormat } from '../billing/bulk/bulk-rows.ts';
import {
  EXPORT_KINDS,
  exportText,
  type ExporterOptions,
  type ExportRequest,
} from '../billing/bulk/exporter.ts';
import type { Importer } from '../billing/bulk/importer.ts';
import { isCustomerId } from '../customer-id.ts';
import { Refusal } from '../errors.ts';
import { textUpTo } from '../request-body.ts';

export interface BulkRoutesOptions {
  readonly exporter: ExporterOptions;
  readonly importer: Importer;
  readonly now: () => number;
}

/** The body of one import; more is sent in parts. */
const IMPORT_BYTES_MAX = 4_194_304;

export function createBulkRoutes({ exporter, importer, now }: BulkRoutesOptions): Hono {
  const admin = new Hono();
  admin.get('/export/:kind', (c) => {
    const request = exportOf(c.req.param('kind'), c.req.query(), now());
    const type = request.format === 'csv' ? 'text/csv; charset=utf-8' : 'application/jsonl';
    return new Response(streamOf(exportText(exporter, request)), { headers: { 'content-type': type } });
  });
  admin.post('/import', async (c) => {
    const { format, line, dry_run: dryRun } = c.req.query();
    const text = await textUpTo(IMPORT_BYTES_MAX, c.req.raw);
    const firstLine = Number(line ?? 1);
    if (!Number.isSafeInteger(firstLine) || firstLine < 1)
      throw new Refusal('invalid_request', 'line must be the number of the first line.', { param: 'line' });
    try {
      return c.json(
        await importer({ format: formatOf(format), text, firstLine, dryRun: isSaid(dryRun, 'dry_run') }),
      );
    } catch (error) {
      if (error instanceof RangeError) throw new Refusal('invalid_request', error.message);
      throw error;
    }
  });
  return admin;
}

/** A page is read when it is asked for; one that fails breaks the reply off, so that nobody takes it for whole. */
function streamOf(texts: AsyncGenerator<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await texts.next();
        if (done === true) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      async cancel() {
        await texts.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

function exportOf(
  kind: string,
  { customer, from, to, format, plain }: Readonly<Record<string, string>>,
  nowMs: number,
): ExportRequest {
  const known = EXPORT_KINDS.find((one) => one === kind);
  if (known === undefined)
    throw new Refusal('not_found', `There is no export of "${kind}": ${EXPORT_KINDS.join(', ')}.`);
  if (customer !== undefined && !isCustomerId(customer))
    throw new Refusal('invalid_request', 'customer must be a Stripe customer id, cus_....', {
      param: 'customer',
    });
  // Usage may be up to five minutes ahead.
  const times = { fromMs: momentOf(from, 'from') ?? 0, toMs: momentOf(to, 'to') ?? nowMs + 3_600_000 };
  return { kind: known, format: formatOf(format), plain: isSaid(plain, 'plain'), customer, ...times };
}

function formatOf(format: string | undefined): BulkFormat {
  if (format === undefined || format === 'jsonl') return 'jsonl';
  if (format === 'csv') return 'csv';
  throw new Refusal('invalid_request', `format must be jsonl or csv, not "${format}".`, { param: 'format' });
}

function isSaid(text: string | undefined, param: string): boolean {
  if (text === undefined || text === '' || text === '0' || text === 'false') return false;
  if (text === '1' || text === 'true') return true;
  throw new Refusal('invalid_request', `${param} must be 1 or 0.`, { param });
}
