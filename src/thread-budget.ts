import { availableParallelism } from 'node:os';

interface Waiting {
  /** Threads it needs. */
  threads: number;
  enter: () => void;
}

/** What a budget is doing, in threads. */
export interface ThreadUse {
  /** The budget. */
  threads: number;
  /** Of the teams that compute; never above the budget. */
  computing: number;
  /** Images being decoded, a thread each; never above the budget. */
  decoding: number;
  /** Teams that wait for threads. */
  waitingTeams: number;
  waitingDecoders: number;
  /** The most that `computing` has been. */
  mostComputing: number;
  /** The most that `decoding` has been. */
  mostDecoding: number;
}

/**
 * A fair, weighted semaphore of threads. Teams (a batch on `n` threads of libtorch) are admitted first come first
 * served and never take more than the budget together: the threads of a team wait for each other, so two teams on the
 * same processors cost more than one after the other. A wide team at the head is not overtaken, so none starves.
 *
 * Decoders work alone, a thread each, and wait for nobody, so they have the same number beside the teams: they fill the
 * gaps that a team leaves (single-threaded kernels, copies at both ends), and the next batch is decoded while this one
 * computes. A team never waits for a decoder, however large its image. Measured on 2 busy processors, 32 clients, JPEGs of
 * 500 x 375 and a small network, images for each second of processor time: 168; 145 when decoders got only what teams
 * leave and at least one thread; 111 when decoders and teams shared one number.
 */
export class ThreadBudget {
  readonly threads: number;
  #computing = 0;
  #decoding = 0;
  #mostComputing = 0;
  #mostDecoding = 0;
  readonly #teams: Waiting[] = [];
  readonly #decoders: Waiting[] = [];

  constructor(threads: number) {
    this.threads = threads;
  }

  /** Runs `work` while it holds `threads`, or the whole budget if that is less. */
  async compute<T>(threads: number, work: () => Promise<T>): Promise<T> {
    const taken = Math.min(threads, this.threads);
    await this.#enter(this.#teams, taken);
    try {
      return await work();
    } finally {
      this.#computing -= taken;
      this.#admit();
    }
  }

  /** Runs `work` while it holds the place of one decoder. */
  async decode<T>(work: () => Promise<T>): Promise<T> {
    await this.#enter(this.#decoders, 1);
    try {
      return await work();
    } finally {
      this.#decoding -= 1;
      this.#admit();
    }
  }

  use(): ThreadUse {
    return {
      threads: this.threads,
      computing: this.#computing,
      decoding: this.#decoding,
      waitingTeams: this.#teams.length,
      waitingDecoders: this.#decoders.length,
      mostComputing: this.#mostComputing,
      mostDecoding: this.#mostDecoding,
    };
  }

  #enter(line: Waiting[], threads: number): Promise<void> {
    return new Promise((enter) => {
      line.push({ threads, enter });
      this.#admit();
    });
  }

  /** Takes the threads for whoever is next, before it runs: nobody can come between. */
  #admit(): void {
    while (this.#teams[0] && this.#computing + this.#teams[0].threads <= this.threads) {
      const { threads, enter } = this.#teams.shift() as Waiting;
      this.#computing += threads;
      enter();
    }
    this.#mostComputing = Math.max(this.#mostComputing, this.#computing);
    while (this.#decoders[0] && this.#decoding < this.threads) {
      this.#decoding += 1;
      (this.#decoders.shift() as Waiting).enter();
    }
    this.#mostDecoding = Math.max(this.#mostDecoding, this.#decoding);
  }
}

/** Shared by everything in this process (each worker thread has its own) that serves: all processors it may use. */
export const threadBudget = new ThreadBudget(availableParallelism());
