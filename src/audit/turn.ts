import { setImmediate } from 'node:timers/promises';
import { throwIfAborted } from '../errors.js';

/** Milliseconds of computing after which what else the process does has its turn. */
const longestTurn = 10;

/** A long computation's turn at the event loop. */
export class Turn {
  readonly #signal: AbortSignal | undefined;
  #began = performance.now();

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  get isOver(): boolean {
    return performance.now() - this.#began >= longestTurn;
  }

  /** Lets all else that waits go first. @throws ABORTED */
  async next(): Promise<void> {
    await setImmediate();
    throwIfAborted(this.#signal);
    this.#began = performance.now();
  }
}
