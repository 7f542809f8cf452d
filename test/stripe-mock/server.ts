/** Stripe's own mock server (github.com/stripe/stripe-mock), which holds requests against Stripe's published description. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const VERSION = 'v0.203.0';
const STARTED_MS_MAX = 30_000;
const INSTALLED_MS_MAX = 540_000;

export const hasGo = (): boolean => spawnSync('go', ['version']).status === 0;

/** The binary, built with Go into the user's cache where it is not there yet; undefined with the reason told. */
export function installed(): string | undefined {
  const folder = join(
    process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
    'faregate',
    `stripe-mock-${VERSION}`,
  );
  const binary = join(folder, 'stripe-mock');
  if (existsSync(binary)) return binary;
  if (!hasGo()) return undefined;
  mkdirSync(folder, { recursive: true });
  const built = spawnSync('go', ['install', `github.com/stripe/stripe-mock@${VERSION}`], {
    env: { ...process.env, GOBIN: folder },
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: INSTALLED_MS_MAX,
  });
  return built.status === 0 ? binary : undefined;
}

export interface MockServer {
  readonly url: string;
  close(): void;
}

/** On a port that the system chooses; rejects where it does not start. */
export async function startMock(binary: string): Promise<MockServer> {
  const child = spawn(binary, ['-http-addr', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    return { url: `http://127.0.0.1:${await portOf(child)}`, close: () => void child.kill() };
  } catch (error) {
    child.kill();
    throw error;
  }
}

function portOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error(`stripe-mock does not start: ${said}`)), STARTED_MS_MAX);
    const hear = (bytes: Buffer): void => {
      said += bytes.toString();
      const port = /127\.0\.0\.1:(\d+)/.exec(said)?.[1];
      if (port === undefined) return;
      clearTimeout(timer);
      resolve(port);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('exit', () => reject(new Error(`stripe-mock ended: ${said}`)));
  });
}
