import { parentPort } from 'node:worker_threads';
import { simulate, type SimulationOptions } from './simulate.ts';

parentPort?.on('message', async (share: Pick<SimulationOptions, 'from' | 'seeds'>) => {
  parentPort?.postMessage(await simulate(share));
});
