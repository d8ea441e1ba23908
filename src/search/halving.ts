import { compareStandings } from '../standing.js';

/** A trial trained up to a rung, and what came of it. */
export interface RungResult {
  trial: number;
  /** From 0. */
  rung: number;
  /** Best value of the metric so far; null for a trial that failed, which counts as worst. */
  value: number | null;
  /** The validation loss at that value, which breaks ties. */
  loss?: number | null | undefined;
}

/** Epochs of each rung: `least`, then `reduction` times as many, and at last `most`. */
export function rungEpochs(least: number, most: number, reduction: number): number[] {
  const epochs = [];
  for (let next = least; next * reduction <= most; next *= reduction) epochs.push(next);
  return [...epochs, most];
}

/**
 * Which trial to train next, by asynchronous successive halving (ASHA: Li et al. 2020, "A System for Massively Parallel
 * Hyperparameter Tuning", algorithm 2): a trial in the best third of its rung so far goes on to the next one, the highest
 * rung first; where there is none, a new trial begins. With one rung it is random search. What it says is a function of the
 * results so far, so that a search that is resumed asks for the same.
 */
export class Halving {
  readonly #rungs: Map<number, RungResult>[];
  readonly #reduction: number;
  readonly #mode: 'min' | 'max';
  #drawn = 0;

  constructor(rungs: number, reduction: number, mode: 'min' | 'max') {
    this.#rungs = Array.from({ length: rungs }, () => new Map());
    this.#reduction = reduction;
    this.#mode = mode;
  }

  /**
   * The next trial and the rung to bring it to; undefined when `trials` have been drawn and none goes on. Its result must
   * be recorded before the next is asked for.
   */
  next(trials: number): { trial: number; rung: number } | undefined {
    for (let rung = this.#rungs.length - 2; rung >= 0; rung--) {
      const trial = this.#ranked(rung)
        .slice(0, Math.floor(this.#at(rung).size / this.#reduction))
        .find((one) => this.#canGoOn(one));
      if (trial) return { trial: trial.trial, rung: rung + 1 };
    }
    if (this.#drawn < trials) return { trial: this.#drawn, rung: 0 };
    return this.#last();
  }

  record(result: RungResult): void {
    if (result.rung === 0) this.#drawn = Math.max(this.#drawn, result.trial + 1);
    this.#at(result.rung).set(result.trial, result);
  }

  /**
   * Whether a trial may still go on when no more than `trials` are drawn: no rung gets more of them, and ranks only get
   * worse.
   */
  mayGoOn(result: RungResult, trials: number): boolean {
    if (!this.#canGoOn(result) || result.rung === this.#rungs.length - 1) return false;
    const most = Math.floor(trials / this.#reduction);
    return this.#ranked(result.rung).indexOf(result) < Math.max(1, most);
  }

  /** Few trials leave the last rung empty; the best one then goes there, so that one at least is trained to its end. */
  #last(): { trial: number; rung: number } | undefined {
    const rung = this.#rungs.findLastIndex((results) => results.size > 0);
    if (rung < 0 || rung === this.#rungs.length - 1) return undefined;
    const [best] = this.#ranked(rung);
    return best && this.#canGoOn(best) ? { trial: best.trial, rung: rung + 1 } : undefined;
  }

  /** It has not failed, and has not gone on yet. */
  #canGoOn({ trial, rung, value }: RungResult): boolean {
    return value !== null && !this.#rungs[rung + 1]?.has(trial);
  }

  /** Best first; failed ones last. */
  #ranked(rung: number): RungResult[] {
    return [...this.#at(rung).values()].sort((a, b) => compareResults(a, b, this.#mode));
  }

  #at(rung: number): Map<number, RungResult> {
    return this.#rungs[rung] as Map<number, RungResult>;
  }
}

/** Order of results, best first: by value, null last, of equal ones by the lower validation loss, then by number. */
export function compareResults(
  a: Omit<RungResult, 'rung'>,
  b: Omit<RungResult, 'rung'>,
  mode: 'min' | 'max',
): number {
  return compareStandings(a, b, mode) || a.trial - b.trial;
}
