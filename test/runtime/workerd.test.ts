import { createTestHarness } from 'wrangler';
import { describeHttpCases } from '../contract/http-cases.ts';
import type { Start } from '../contract/http-world.ts';

const start: Start = async (env, yaml) => {
  const harness = createTestHarness({
    workers: [{ configPath: 'wrangler.toml', vars: { FAREGATE_YAML: yaml }, secrets: { ...env } }],
  });
  const { url } = await harness.listen();
  return {
    fetch: (path, init) => fetch(new URL(path, url), init),
    close: () => harness.close(),
  };
};

describeHttpCases('workerd', start);
