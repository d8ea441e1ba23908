/** How a run ended, for those who wait for it. A promise is made only for who asks, so that no rejection is left over. */
export class RunEnd<R> {
  #ended: { result: R } | { error: unknown } | undefined;
  readonly #waiting: { resolve: (result: R) => void; reject: (error: unknown) => void }[] = [];

  finish(result: R): void {
    if (this.#ended) return;
    this.#ended = { result };
    for (const { resolve } of this.#waiting.splice(0)) resolve(result);
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = { error };
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /** Resolves with the result, or rejects with what the run failed by. */
  wait(): Promise<R> {
    return new Promise((resolve, reject) => {
      if (!this.#ended) this.#waiting.push({ resolve, reject });
      else if ('error' in this.#ended) reject(this.#ended.error);
      else resolve(this.#ended.result);
    });
  }
}
