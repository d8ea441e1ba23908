/**
 * Seconds by what they went to. What is measured within something else counts for itself alone, so that they add up. For one
 * thing at a time.
 */
export class Stopwatch {
  readonly #seconds = new Map<string, number>();
  readonly #open: string[] = [];
  #since = 0;

  async spend<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.#enter(name);
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** In the order in which they began. */
  get seconds(): Record<string, number> {
    return Object.fromEntries(this.#seconds);
  }

  #enter(name: string): void {
    this.#book();
    this.#open.push(name);
    this.#seconds.set(name, this.#seconds.get(name) ?? 0);
  }

  #leave(): void {
    this.#book();
    this.#open.pop();
  }

  /** What has passed since the last change is the innermost one's. */
  #book(): void {
    const now = performance.now();
    const name = this.#open.at(-1);
    if (name !== undefined)
      this.#seconds.set(name, (this.#seconds.get(name) ?? 0) + (now - this.#since) / 1000);
    this.#since = now;
  }
}
