/** How far a JSON object is that comes in pieces: empty, begun or whole. Each character is looked at once. */
export class JsonProgress {
  #depth = 0;
  #begun = false;
  #inString = false;
  #escaped = false;

  get isEmpty(): boolean {
    return !this.#begun;
  }

  get isWhole(): boolean {
    return this.#begun && this.#depth === 0;
  }

  take(text: string): void {
    for (const character of text) this.#step(character);
  }

  #step(character: string): void {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (character === '\\') this.#escaped = true;
      else if (character === '"') this.#inString = false;
      return;
    }
    if (character.trim() === '') return;
    this.#begun = true;
    if (character === '"') this.#inString = true;
    else if (character === '{' || character === '[') this.#depth += 1;
    else if (character === '}' || character === ']') this.#depth -= 1;
  }
}
