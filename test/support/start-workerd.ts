/** The gateway in a workerd of its own. */
import { unstable_startWorker as startWorker } from 'wrangler';
import type { Start } from '../contract/http-world.ts';
import { socketFetch } from './socket-fetch.ts';

/** What `wrangler dev` runs. Wrangler's own test harness will not do: it sends the Worker's fetches through Node. */
export const startWorkerd: Start = async (env, yaml) => {
  const variables = Object.entries({ ...env, FAREGATE_YAML: yaml });
  const worker = await startWorker({
    config: 'wrangler.toml',
    bindings: Object.fromEntries(variables.map(([name, value]) => [name, { type: 'plain_text', value }])),
    dev: {
      server: { hostname: '127.0.0.1', port: 0 },
      inspector: false,
      persist: false,
      watch: false,
      logLevel: 'none',
    },
  });
  const url = await worker.url;
  return {
    fetch: (path, init) => socketFetch(new URL(path, url), init),
    close: () => worker.dispose(),
  };
};
