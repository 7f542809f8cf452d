/** The sandbox: gateway, Stripe simulator and demo provider in one process. */
import type { Settings } from '../config.ts';

export interface DevOptions {
  readonly settings: Settings;
  readonly json: boolean;
  /** Resolves when the process was asked to stop. */
  readonly stopped: Promise<string>;
}

export async function runDev(_options: DevOptions): Promise<void> {
  throw new Error('not wired');
}
