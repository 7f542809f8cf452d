/** Whoever asks while the work is under way waits for it, and it is done once more for him. */
export function oneAtATime<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  let isDueAgain = false;
  const run = async (): Promise<T> => {
    for (;;) {
      isDueAgain = false;
      const answer = await work();
      if (!isDueAgain) return answer;
    }
  };
  return () => {
    if (running === undefined) running = run().finally(() => (running = undefined));
    else isDueAgain = true;
    return running;
  };
}
