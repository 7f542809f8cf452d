/** `faregate start` and the commands beside it, as processes: what ends them, and what must not. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../support/sqlite.ts';

const BIN = new URL('../../bin/faregate.mjs', import.meta.url).pathname;
/** Well above what a command takes, well below a test's own time. */
const HANGS_MS = 15_000;
let directory = '';
let file = '';
let running: Process[] = [];
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory, 'ledger.db');
  running = [];
});
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

type Process = ChildProcessByStdio<null, Readable, Readable>;

function faregate(args: readonly string[], env: Readonly<Record<string, string>> = {}): Process {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: directory,
    env: {
      PATH: process.env['PATH'] ?? '',
      PORT: '0',
      DATABASE_URL: `sqlite:${file}`,
      STRIPE_SECRET_KEY: 'sk_test_start',
      STRIPE_API_BASE: 'http://127.0.0.1:9',
      OPENAI_API_KEY: 'sk-start',
      OPENAI_BASE_URL: 'http://127.0.0.1:9/v1',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.push(child);
  return child;
}
const ended = (child: Process): Promise<{ code: number | null; signal: string | null }> =>
  new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));

/** One that is to end by itself; killed where it does not. */
async function ran(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = faregate(args, env);
  const text: string[] = [];
  child.stderr.on('data', (data) => text.push(String(data)));
  child.stdout.resume();
  const late = setTimeout(() => child.kill('SIGKILL'), HANGS_MS);
  const end = await ended(child);
  clearTimeout(late);
  return { ...end, said: text.join('') };
}

function listening(child: Process): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stderr.on('data', (data) => {
      text += String(data);
      const url = /"event":"listening","url":"([^"]+)"/.exec(text)?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once('exit', () => reject(new Error(`It ended: ${text}`)));
  });
}

describe('faregate start', () => {
  it('serves on, and stops in order, when whoever read its log has left', async () => {
    const child = faregate(['start', '--json']);
    const end = ended(child);
    const url = await listening(child);
    child.stderr.destroy();
    // Each is refused with a line of the log, and together they take longer than lines are gathered for.
    for (let request = 0; request < 200; request += 1) {
      const reply = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: '{}' });
      await reply.text();
      expect(reply.status).toBe(401);
    }
    child.kill('SIGTERM');
    expect(await end).toEqual({ code: 0, signal: null });
  });

  it('ends, and says why, where the file that commands find it by cannot be written', async () => {
    mkdirSync(`${file}.control.json`);
    const { code, said } = await ran(['start']);
    expect(said).toContain(`${file}.control.json cannot be written`);
    expect(said).not.toContain('    at ');
    expect(code).toBe(1);
  });

  it('exits 4 on a host that there is not', async () => {
    const { code, said } = await ran(['start'], { HOST: 'no.such.host.invalid' });
    expect(said).toContain('Cannot listen on no.such.host.invalid:0');
    expect(said).not.toContain('    at ');
    expect(code).toBe(4);
  });
});

describe('the ledger of a newer program', () => {
  beforeEach(async () => {
    expect((await ran(['usage'])).code).toBe(0);
    const database = new DatabaseSync(file);
    database.exec('INSERT INTO schema_version (version) VALUES (9999)');
    database.close();
  });

  it.each([['start'], ['usage'], ['restore']])(
    'is left as it is by %s, which says so and ends',
    async (command) => {
      const { code, said } = await ran([command]);
      expect(said).toContain('The ledger has schema version 9999');
      expect(said).not.toContain('    at ');
      expect(code).toBe(1);
    },
  );
});
