/** Export and import by the command, beside a gateway that runs. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, CUSTOMER, startTestGateway, type TestGateway } from './support/gateway.ts';
import { temporaryDirectory } from './support/sqlite.ts';

const BIN = new URL('../bin/faregate.mjs', import.meta.url).pathname;
let gateway: TestGateway;
let folder: string;
beforeAll(async () => {
  gateway = await startTestGateway();
  folder = temporaryDirectory();
});
afterAll(async () => {
  await gateway.close();
  rmSync(folder, { recursive: true });
});

function command(...args: string[]): Promise<{ code: number | null; out: string }> {
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env['PATH'] ?? '', DATABASE_URL: `sqlite:${gateway.file}` };
    const child = spawn(process.execPath, [BIN, ...args], { env, cwd: folder, timeout: 30_000 });
    const out: string[] = [];
    child.stdout.on('data', (data) => out.push(String(data)));
    child.stderr.on('data', (data) => out.push(String(data)));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out: out.join('') }));
  });
}
const record = (at: number, more: object = {}): string =>
  JSON.stringify({
    identifier: `record-${String(at)}`,
    timestamp: Math.floor(Date.now() / 1000) - 60,
    payload: { stripe_customer_id: CUSTOMER, value: '2', model: 'demo/plain', token_type: 'input' },
    ...more,
  });

const post = (body: string): Promise<number> =>
  fetch(`${gateway.url}/admin/v1/import`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
    body,
  }).then(({ status }) => status);

describe('faregate import and export', () => {
  it('bill a file of records once, whatever is at fault in it, and write them out again', async () => {
    const rows = Array.from({ length: 1_203 }, (_, at) => record(at));
    rows[700] = record(700, { timestamp: 'soon' });
    writeFileSync(join(folder, 'records.jsonl'), `${rows.join('\n')}\n`);
    const dry = await command('import', 'records.jsonl', '--dry-run');
    expect(dry.code, dry.out).toBe(1);
    expect(dry.out).toContain('line 701: "timestamp" must be');
    expect(dry.out).toContain('1202 would be imported');
    const ran = await command('import', 'records.jsonl', '--json');
    expect(ran.code).toBe(1);
    expect(JSON.parse(ran.out)).toMatchObject({ imported: 1_202, already: 0, errors: [{ line: 701 }] });
    const again = await command('import', 'records.jsonl', '--json');
    expect(JSON.parse(again.out)).toMatchObject({ imported: 0, already: 1_202 });
    await gateway.flushed();
    expect(gateway.billed()).toEqual({ 'demo/plain input': 2_404 });
    const written = await command('export', 'lines', '--output', 'lines.csv');
    expect(written).toEqual({ code: 0, out: '' });
    expect(readFileSync(join(folder, 'lines.csv'), 'utf8').trim().split('\n')).toHaveLength(1_203);
    expect(existsSync(join(folder, 'lines.csv.part'))).toBe(false);
    const events = await command('export', '--plain', '--customer', CUSTOMER);
    const sum = events.out
      .trim()
      .split('\n')
      .reduce(
        (total, line) => total + Number((JSON.parse(line) as { payload: { value: string } }).payload.value),
        0,
      );
    expect(sum).toBe(2_404);
  });

  it('exit 2 on what makes no sense', async () => {
    const wrong = [
      ['export', 'everything'],
      ['export', '--from', 'soon'],
      ['export', '--format', 'xml'],
      ['import', 'nowhere.jsonl'],
    ];
    const codes: (number | null)[] = [];
    for (const args of wrong) codes.push((await command(...args)).code);
    expect(codes).toEqual([2, 2, 2, 2]);
  });

  it('take no more at once than they bound', async () => {
    expect(await post(' '.repeat(5_000_000))).toBe(413);
    expect(await post(`${record(1)}\n`.repeat(1_002))).toBe(400);
  });
});
