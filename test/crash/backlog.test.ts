/** The short form of `npm run prove:backlog`. */
import { expect, it } from 'vitest';
import { proveBacklog } from '../../bench/backlog.ts';

it('delivers a backlog of 20,000 events through the stream, none lost, none twice', async () => {
  const report = await proveBacklog({ events: 20_000 });
  expect(report).toMatchObject({ events: 20_000, differences: 0, surplus: 0 });
}, 180_000);
