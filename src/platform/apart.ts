/** Parts of one pass that must not stop each other. */

/** A part that failed is due again so soon. */
const FAILED_MS = 1_000;

/** Runs one part: after how many milliseconds it is due again. One that fails is told of, and rejects nothing. */
export async function apart(
  part: () => Promise<number | undefined>,
  failed: (error: unknown) => void,
): Promise<number> {
  try {
    return (await part()) ?? Infinity;
  } catch (error) {
    failed(error);
    return FAILED_MS;
  }
}

interface ReadingParts {
  /** What is due is read from Stripe. */
  readonly read: () => Promise<number | undefined>;
  /** Stripe's list of events is looked at. */
  readonly poll: () => Promise<number>;
  readonly notify: () => Promise<number>;
}

/** Readings and notices at every pass, and now and then the list of events; not at once, when webhooks are on their way. */
export function createReadingPass(
  { read, poll, notify }: ReadingParts,
  { firstPollMs, failed }: { readonly firstPollMs: number; readonly failed: (error: unknown) => void },
): () => Promise<number> {
  let pollAtMs = performance.now() + firstPollMs;
  return async () => {
    const next = await apart(read, failed);
    if (performance.now() >= pollAtMs) pollAtMs = performance.now() + (await apart(poll, failed));
    return Math.min(next, pollAtMs - performance.now(), await apart(notify, failed));
  };
}
