/** Durations as they are written in the configuration file. */
import { z } from 'zod';

const DURATION = /^(\d{1,7})(ms|s|m|h|d)$/;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `500ms`, `30s`, `5m`, `1h` or `3d`; undefined for anything else. */
function parseDuration(text: string): number | undefined {
  const [, amount, unit] = DURATION.exec(text) ?? [];
  return amount === undefined || unit === undefined ? undefined : Number(amount) * (UNIT_MS[unit] ?? 0);
}

/** A duration between the two, milliseconds; `bounds` says them in words. */
export const duration = (msMin: number, msMax: number, bounds: string) =>
  z
    .string({ error: `must be a duration such as 500ms, 30s or 5m, ${bounds}` })
    .refine(
      (text) => {
        const ms = parseDuration(text) ?? Infinity;
        return ms >= msMin && ms <= msMax;
      },
      { error: `must be a duration such as 500ms, 30s or 5m, ${bounds}` },
    )
    .transform((text) => parseDuration(text) ?? 0);
