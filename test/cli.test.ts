import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const BIN = new URL('../bin/faregate.mjs', import.meta.url).pathname;
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'faregate-cli-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The command as a shell would run it, in a folder of its own, with nothing of this environment but PATH. */
function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd: folder,
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 20_000,
    });
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout.on('data', (data) => out.push(String(data)));
    child.stderr.on('data', (data) => err.push(String(data)));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out: out.join(''), err: err.join('') }));
  });
}
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return name;
};

describe('faregate check', () => {
  it('exits 0 on a valid file and says which providers are on', async () => {
    const name = file(
      'ok.yaml',
      'providers:\n  groq: { type: openai-compatible, base_url: http://g/v1, api_key: "${GROQ}" }\n',
    );
    const ran = await run(['check', name], { GROQ: 'secret-of-groq' });
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('groq (openai-compatible, http://g/v1)');
    expect(ran.out).not.toContain('secret-of-groq');
  });

  it('exits 3 and says every problem of file and environment at once, with place and suggestion', async () => {
    const name = file('bad.yaml', 'limits:\n  rpmm: 3\nbudget:\n  mode: stricter\n');
    const ran = await run(['check', '--config', name], { PORT: '99999' });
    expect(ran.code).toBe(3);
    expect(ran.err).toContain('3 problems');
    expect(ran.err).toContain('bad.yaml:2:3 limits.rpmm: unknown key "rpmm"; did you mean "rpm"?');
    expect(ran.err).toContain('bad.yaml:4:3 budget.mode: must be one of strict, standard, observe');
    expect(ran.err).toContain('PORT: must be a whole number');
  });

  it('gives programs the same as JSON', async () => {
    const ran = await run(['check', file('bad2.yaml', 'limit: {}'), '--json']);
    expect(ran.code).toBe(3);
    expect(JSON.parse(ran.out)).toMatchObject({
      ok: false,
      problems: [{ path: 'limit', line: 1, column: 1 }],
    });
    const fine = await run(['check', file('ok2.yaml', ''), '--json']);
    expect(JSON.parse(fine.out)).toMatchObject({ ok: true, ready_to_start: false });
  });
});

describe('faregate', () => {
  it('exits 2 on what it does not know, with the command that was meant', async () => {
    const ran = await run(['chek']);
    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain('Did you mean check?');
    expect((await run(['keys', 'create'])).code).toBe(2);
    expect((await run(['keys', 'create', '--customer', 'bob'])).code).toBe(2);
  });

  it('helps with every command and names the exit codes', async () => {
    const ran = await run(['--help']);
    expect(ran.code).toBe(0);
    expect(ran.out).toContain('2 usage, 3 configuration');
    for (const args of [['check'], ['keys', 'create'], ['events', 'list'], ['trigger'], ['dev'], ['start']]) {
      expect((await run([...args, '--help'])).out, args.join(' ')).toContain('--json');
    }
  });

  it('prints the configuration schema', async () => {
    const ran = await run(['schema']);
    expect(JSON.parse(ran.out)).toMatchObject({
      title: 'Faregate configuration',
      additionalProperties: false,
    });
    expect(await run(['schema', '--json'])).toEqual(ran);
  });

  it.runIf(process.platform !== 'win32')(
    'starts with room for short-lived objects, and leaves a size that was chosen as it is',
    async () => {
      const report = join(folder, 'report.mjs');
      writeFileSync(report, 'process.once("exit", () => console.log(process.execArgv.join(" ")));');
      const sizesOf = async (env: Record<string, string>): Promise<string> => {
        const options = `--import=${report} ${env['NODE_OPTIONS'] ?? ''}`.trim();
        return (await run(['start'], { ...env, NODE_OPTIONS: options })).out;
      };
      expect(await sizesOf({})).toContain('--max-semi-space-size=64');
      expect(await sizesOf({ NODE_OPTIONS: '--max-semi-space-size=8' })).not.toContain('=64');
    },
  );

  it('refuses to start on anything missing, saying all of it', async () => {
    const ran = await run(['start']);
    expect(ran.code).toBe(3);
    expect(ran.err).toContain('STRIPE_SECRET_KEY: is required');
    expect(ran.err).toContain('providers: none is on');
  });

  it('keeps live keys of Stripe out of the sandbox', async () => {
    const ran = await run(['dev'], { STRIPE_SECRET_KEY: 'sk_live_hush' });
    expect(ran.code).toBe(3);
    expect(ran.err).toContain('live key');
    expect(ran.err).not.toContain('hush');
  });

  it('exits 4 when the simulator is not there', async () => {
    const ran = await run(['trigger', 'billing.alert.triggered', '--simulator', 'http://127.0.0.1:9']);
    expect(ran.code).toBe(4);
    expect(ran.err).toContain('Is "faregate dev" running?');
  });
});

describe('commands beside a running gateway', () => {
  const asked: {
    method?: string | undefined;
    url?: string | undefined;
    authorization?: string | undefined;
    body: string;
  }[] = [];
  const key = {
    id: 'k1',
    customer: 'cus_1',
    label: '',
    last4: 'abcd',
    created_at: 'now',
    expires_at: null,
    revoked_at: null,
  };
  const gateway = createServer((request, response) => {
    void textOf(request).then((body) => {
      const { method, url } = request;
      if (url !== '/healthz') asked.push({ method, url, authorization: request.headers.authorization, body });
      const wrong = url === '/admin/v1/keys/nokey';
      const { authorization } = request.headers;
      const isOurs = url === '/healthz' || authorization === 'Bearer lent';
      response.writeHead(isOurs ? (wrong ? 404 : 200) : 401, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(
          wrong
            ? { error: { message: 'There is no key nokey.' } }
            : { key, secret: 'sk-fg-shown-once', data: [key], next_cursor: null },
        ),
      );
    });
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve));
    const address = gateway.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    file(
      'beside.db.control.json',
      JSON.stringify({ url: `http://127.0.0.1:${String(port)}`, token: 'lent', pid: process.pid }),
    );
  });
  afterAll(() => void gateway.close());
  const env = { DATABASE_URL: 'sqlite:./beside.db' };

  it('ask it with the token it left beside its database', async () => {
    const ran = await run(['keys', 'create', '--customer', 'cus_1', '--label', 'me'], env);
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('sk-fg-shown-once');
    expect(asked.at(-1)).toMatchObject({
      method: 'POST',
      url: '/admin/v1/keys',
      authorization: 'Bearer lent',
    });
    expect(JSON.parse(asked.at(-1)?.body ?? '')).toEqual({ customer: 'cus_1', label: 'me' });
  });

  it('make a key with limits of its own, where "none" is no limit', async () => {
    const limits = ['--rpm', '60', '--tpm', 'none', '--concurrency', 'none'];
    const ran = await run(['keys', 'create', '--service', ...limits], env);
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(asked.at(-1)?.body ?? '')).toEqual({
      service: true,
      label: '',
      limits: { rpm: 60, tpm: null, concurrency: null },
    });
  });

  it('list keys as a table and as JSON', async () => {
    expect((await run(['keys', 'list', '--customer', 'cus_1'], env)).out).toMatch(/^ID +FOR .*\nk1 +cus_1/);
    expect(JSON.parse((await run(['keys', 'list', '--json'], env)).out)).toMatchObject({
      data: [{ id: 'k1' }],
    });
  });

  it('say that they are about a sandbox, where there is a real ledger whose gateway does not run', async () => {
    const control = readFileSync(join(folder, 'beside.db.control.json'), 'utf8');
    file('alone.sandbox.db.control.json', control);
    const alone = { DATABASE_URL: 'sqlite:./alone.db' };
    expect(await run(['keys', 'list'], alone)).toMatchObject({ code: 0, err: '' });
    file('alone.db', '');
    const ran = await run(['keys', 'list'], alone);
    expect(ran).toMatchObject({ code: 0, out: expect.stringContaining('k1') });
    expect(ran.err).toContain('about the sandbox that runs here; no gateway runs on ./alone.db');
  });

  it('open the file where another gateway has taken the address of the one that was killed', async () => {
    const killed = spawn(process.execPath, ['--eval', '']);
    await once(killed, 'exit');
    const control = readFileSync(join(folder, 'beside.db.control.json'), 'utf8');
    const { url } = JSON.parse(control) as { url: string };
    file('own.db.control.json', JSON.stringify({ url, token: 'of the killed', pid: killed.pid }));
    const ran = await run(['keys', 'list'], { DATABASE_URL: 'sqlite:./own.db' });
    expect(ran).toMatchObject({ code: 0, err: '', out: expect.stringContaining('No keys.') });
  });

  it("exit 1 with the gateway's own words when it refuses", async () => {
    const ran = await run(['keys', 'revoke', 'nokey'], env);
    expect(ran).toMatchObject({ code: 1, err: 'There is no key nokey.\n' });
  });
});

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

it('"faregate export" exits 2 on a kind that there is not, and names those there are', async () => {
  const ran = await run(['export', 'bogus']);
  expect(ran).toMatchObject({ code: 2, out: '' });
  expect(ran.err).toContain('events, lines, calls');
});

it('"faregate events list" exits 2 on a state that there is not, and names those there are', async () => {
  const ran = await run(['events', 'list', '--state', 'bogus']);
  expect(ran.code).toBe(2);
  expect(ran.err).toContain('refused, ambiguous');
});
