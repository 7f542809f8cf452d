import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { runLoad } from './load.ts';
const start = (file: string, ...args: string[]) =>
  new Promise<{ pid: number; port: number; kill(): void }>((ok) => {
    const c = spawn(process.execPath, [new URL(file, import.meta.url).pathname, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    c.stdout.on('data', (d) => {
      try {
        ok({ pid: c.pid!, port: JSON.parse(String(d)).port, kill: () => c.kill() });
      } catch {}
    });
  });
const cpu = (pid: number) => {
  const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(f[11]) + Number(f[12])) * 10;
};
const up = await start('./upstream.ts');
const procs = await Promise.all(process.argv.slice(2).map((f) => start(f, `http://127.0.0.1:${up.port}`)));
const body = (stream: boolean) =>
  JSON.stringify({
    model: 'gpt-4o-mini',
    ...(stream ? { stream: true } : {}),
    messages: [{ role: 'user', content: 'x'.repeat(200) }],
  });
for (let round = 0; round < 3; round++)
  for (const stream of [false, true])
    for (const [i, p] of procs.entries()) {
      const calls = stream ? 2000 : 4000;
      const before = cpu(p.pid);
      const r = await runLoad({
        url: `http://127.0.0.1:${p.port}/v1/chat/completions`,
        headers: {},
        body: body(stream),
        calls,
        inFlight: 64,
      });
      console.log(
        round,
        stream ? 'sse' : 'json',
        process.argv[2 + i],
        'cpu us/call',
        Math.round(((cpu(p.pid) - before) * 1000) / calls),
        'p50',
        r.lastByteMs.p50.toFixed(1),
        'fail',
        r.failures,
      );
    }
for (const p of procs) p.kill();
up.kill();
process.exit(0);
