/** Generated text by our own count, in pieces. See src/usage/text-estimate.ts for the weights. */
import { tokensOfQuarters } from '../../src/usage/text-estimate.ts';

export class Tally {
  #quarters = 0;
  #deltas = 0;

  /** One piece of generated text; a piece without weight is none. */
  add(quarters: number): void {
    if (quarters === 0) return;
    this.#quarters += quarters;
    this.#deltas += 1;
  }

  estimate(): { readonly outputTokens: number; readonly deltas: number } {
    return { outputTokens: tokensOfQuarters(this.#quarters), deltas: this.#deltas };
  }
}
