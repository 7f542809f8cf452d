/** The command: what is asked for, done; what went wrong, said, with an exit code that programs can rely on. */
import { Command, CommanderError } from 'commander';
import { registerBulk } from './cli/bulk.ts';
import { registerCheck } from './cli/check.ts';
import { CommandFailure, EXIT } from './cli/command.ts';
import { registerDoctor } from './cli/doctor.ts';
import { registerEvents } from './cli/events.ts';
import { registerKeys } from './cli/keys.ts';
import { registerPrices } from './cli/prices.ts';
import { registerReconcile } from './cli/reconcile.ts';
import { registerMoney } from './cli/money.ts';
import { registerRestore } from './cli/restore.ts';
import { registerServe } from './cli/serve.ts';
import { registerTrigger } from './cli/trigger.ts';
import { registerUsage } from './cli/usage.ts';
import { packageVersion, registerVersion } from './cli/version.ts';

const HELP = `
Exit codes: 0 ok, 1 problem found, 2 usage, 3 configuration, 4 network or authorisation.`;

/** Runs one command line (without the program's name) to its end; answers the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  // A reader that has seen enough (`| head`) closes the pipe: that is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.ok);
    throw error;
  });
  try {
    await createProgram().parseAsync(argv, { from: 'user' });
    // A command that said all it had to say may still have found a problem.
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.ok;
  } catch (error) {
    return exitCodeOf(error, argv.includes('--json'));
  }
}

function createProgram(): Command {
  const program = new Command('faregate')
    .description('An LLM gateway that bills: OpenAI-compatible in, Stripe meter events out, exactly once.')
    .version(packageVersion(), '-v, --version')
    .addHelpText('after', HELP)
    .helpCommand(true)
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride();
  registerServe(program);
  registerCheck(program);
  registerDoctor(program);
  registerKeys(program);
  registerMoney(program);
  registerUsage(program);
  registerEvents(program);
  registerPrices(program);
  registerReconcile(program);
  registerBulk(program);
  registerRestore(program);
  registerTrigger(program);
  registerVersion(program);
  return program;
}

/** The failure, said on stderr; with `--json` on stdout, where a program reads. */
function exitCodeOf(error: unknown, json: boolean): number {
  // Commander has said it already; what ends with 0 is help and version.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const failure = error instanceof CommandFailure ? error : undefined;
  const message =
    failure?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error));
  const exitCode = failure?.exitCode ?? EXIT.problem;
  if (json) {
    const problems = failure?.problems ?? [];
    const body = { ok: false, exit_code: exitCode, error: { message }, problems };
    process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
  } else {
    process.stderr.write(`${message}\n`);
  }
  return exitCode;
}
