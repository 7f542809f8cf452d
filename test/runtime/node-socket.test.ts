import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { startGateway } from '../../src/node.ts';
import { createNodeRuntime } from '../../src/platform/node-runtime.ts';
import { describeHttpCases } from '../contract/http-cases.ts';
import type { Start } from '../contract/http-world.ts';
import { settingsOf } from '../support/settings.ts';
import { temporaryDirectory } from '../support/sqlite.ts';

const start: Start = async (env, yaml) => {
  const directory = temporaryDirectory();
  const settings = settingsOf(
    { ...env, PORT: '0', DATABASE_URL: `sqlite:${join(directory, 'ledger.db')}` },
    yaml,
  );
  const running = await startGateway(settings, createNodeRuntime({ json: true, write: () => undefined }));
  return {
    fetch: (path, init) => fetch(new URL(path, running.url), init),
    async close() {
      await running.close();
      rmSync(directory, { recursive: true });
    },
  };
};

describeHttpCases('a Node socket', start);
