/** The two commands that stay: `start` and `dev`. */
import type { Command } from 'commander';
import type { Gateway } from '../assemble/assemble.ts';
import { LedgerUnavailable } from '../ledger/ledger.ts';
import { createNodeRuntime } from '../platform/node-runtime.ts';
import type { Runtime } from '../runtime.ts';
import { CommandFailure, type CommonOptions, EXIT, addConfiguredCommand, loadSettings } from './command.ts';

export function registerServe(program: Command): void {
  addConfiguredCommand(program, 'start', 'the gateway; refuses to start on anything missing or wrong').action(
    start,
  );
  addConfiguredCommand(
    program,
    'dev',
    'a sandbox without keys: gateway, Stripe simulator, demo provider',
  ).action(dev);
}

async function start(options: CommonOptions): Promise<void> {
  const settings = loadSettings('start', options);
  const runtime = createNodeRuntime({ json: options.json === true || !process.stderr.isTTY });
  const { startGateway } = await import('../node.ts');
  const running = await startGateway(settings, runtime).catch((error: unknown) => {
    throw startFailure(error, settings.host, settings.port);
  });
  runtime.log('info', 'listening', { url: running.url });
  runtime.defer(warnOfMeters(running.gateway, runtime));
  const signal = await stopSignal();
  runtime.log('info', 'stopping', { signal });
  await running.close();
  // The ledger is closed; what still waits for an answer of Stripe's would keep the process for nothing.
  process.exit(EXIT.ok);
}

/** Not waited for: calls are served and recorded whatever the meters are. */
async function warnOfMeters(
  { checkMeters }: Pick<Gateway, 'checkMeters'>,
  { log }: Pick<Runtime, 'log'>,
): Promise<void> {
  try {
    for (const warning of await checkMeters()) log('warn', 'meter_warning', { warning });
  } catch (error) {
    log('warn', 'meters_unchecked', { error: String(error) });
  }
}

async function dev(options: CommonOptions): Promise<void> {
  const settings = loadSettings('dev', options);
  const { runDev } = await import('./dev.ts');
  await runDev({ settings, json: options.json === true, stopped: stopSignal() }).catch((error: unknown) => {
    throw startFailure(error, settings.host, settings.port);
  });
}

/** The first signal asks to stop; with the handler gone, a second one ends the process as it would have anyway. */
export function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}

function startFailure(error: unknown, host: string, port: number): unknown {
  if (error instanceof LedgerUnavailable) {
    return new CommandFailure(EXIT.problem, `The ledger cannot be opened: ${error.message}`);
  }
  if (!(error instanceof Error) || !('code' in error)) return error;
  const at = `${host}:${String(port)}`;
  if (error.code === 'EADDRINUSE') {
    const taken = 'port' in error && error.port !== port ? `127.0.0.1:${String(error.port)}` : at;
    const remedy =
      taken === at ? 'Stop it, or set PORT to another one.' : 'Stop it: is another sandbox running?';
    return new CommandFailure(EXIT.network, `${taken} is taken by another process. ${remedy}`);
  }
  return 'syscall' in error && (error.syscall === 'listen' || error.syscall === 'getaddrinfo')
    ? new CommandFailure(EXIT.network, `Cannot listen on ${at}: ${error.message}. Set HOST and PORT.`)
    : error;
}
