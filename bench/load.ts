/** The caller of the benchmark: keeps calls in flight, a closed loop, and times each to its first and last byte. */
import { Pool } from 'undici';

export interface Load {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly calls: number;
  readonly inFlight: number;
}
export interface LoadResult {
  readonly calls: number;
  readonly failures: number;
  readonly wallMs: number;
  readonly firstByteMs: { readonly p50: number; readonly p99: number };
  readonly lastByteMs: { readonly p50: number; readonly p99: number };
}

export async function runLoad(load: Load): Promise<LoadResult> {
  const target = new URL(load.url);
  const pool = new Pool(target.origin, { connections: load.inFlight });
  const first: number[] = [];
  const last: number[] = [];
  let failures = 0;
  let left = load.calls;
  const started = performance.now();
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const began = performance.now();
      const { statusCode, body } = await pool.request({
        path: target.pathname,
        method: 'POST',
        headers: { 'content-type': 'application/json', ...load.headers },
        body: load.body,
      });
      let bytes = 0;
      for await (const chunk of body) {
        if (bytes === 0) first.push(performance.now() - began);
        bytes += (chunk as Buffer).length;
      }
      last.push(performance.now() - began);
      if (statusCode !== 200 || bytes === 0) failures++;
    }
  };
  await Promise.all(Array.from({ length: load.inFlight }, one));
  const wallMs = performance.now() - started;
  await pool.close();
  return { calls: load.calls, failures, wallMs, firstByteMs: quantiles(first), lastByteMs: quantiles(last) };
}

function quantiles(samples: number[]): { p50: number; p99: number } {
  samples.sort((a, b) => a - b);
  const at = (q: number): number =>
    samples[Math.min(samples.length - 1, Math.floor(samples.length * q))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99) };
}
