import type { Command } from 'commander';
import { z } from 'zod';
import { ask, withAdmin } from './admin.ts';
import { type CommonOptions, addConfiguredCommand, loadSettings, say } from './command.ts';

const reportSchema = z.looseObject({ quarantined: z.int(), closed: z.int() });

export function registerRestore(program: Command): void {
  addConfiguredCommand(
    program,
    'restore',
    'after a backup of the ledger was put in place: mark what may have been sent since, instead of sending it again',
  ).action(restore);
}

async function restore(options: CommonOptions): Promise<void> {
  const report = await withAdmin(loadSettings('read', options), (admin) =>
    ask(admin, { path: '/restore', method: 'POST' }, reportSchema),
  );
  say(options, report, () => [
    `${String(report.quarantined)} events may have been sent since the backup: quarantined.`,
    `${String(report.closed)} calls were open in it: closed, without usage.`,
    'Start the gateway. Reconciliation decides about them: every night, or now with "faregate reconcile".',
  ]);
}
