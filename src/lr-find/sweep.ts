import { isTorchgraftError, TorchgraftError, throwIfAborted } from '../errors.js';
import { type BatchSource, type SourceBatch, targetOf, withBatch } from '../fine-tune/source.js';
import type { Model } from '../model.js';
import type { SweepPoint } from './suggestions.js';

/** fastai's weight of the past in its smoothed loss (`AvgSmoothLoss`). */
const beta = 0.98;
/** The sweep ends when the smoothed loss is so many times its least (fastai's `LRFinder`). */
const divergence = 4;

/** Why a sweep ended: at its last rate, when the loss had grown too large, or when it was not finite. */
export type SweepEnd = 'finished' | 'diverged' | 'notFinite';

export interface Sweep {
  model: Model;
  /** Of the group that learns fastest, one for each step. */
  rates: readonly number[];
  /** Learning rates of all groups, when the fastest has this one. */
  ratesOfGroups: (rate: number) => number[];
  /** A pass over the training images, by epoch from 1. */
  source: (epoch: number) => BatchSource;
  /** Batches of a step. */
  accumulate: number;
  signal: AbortSignal | undefined;
  onStep: ((point: SweepPoint, step: number) => unknown) | undefined;
}

/** Trains a step at each rate, over as many passes as that takes. The model's weights are of no use afterwards. */
export async function runSweep(sweep: Sweep): Promise<{ curve: SweepPoint[]; ended: SweepEnd }> {
  const curve: SweepPoint[] = [];
  const smooth = smoother();
  let least = Number.POSITIVE_INFINITY;
  try {
    for await (const { loss, learningRate } of steps(sweep)) {
      const point = { learningRate, loss, smoothed: smooth(loss) };
      curve.push(point);
      await sweep.onStep?.(point, curve.length);
      least = Math.min(least, point.smoothed);
      // A loss of one's own may be negative; no multiple of that means anything.
      if (least > 0 && point.smoothed > divergence * least) return { curve, ended: 'diverged' };
    }
  } catch (error) {
    if (!isTorchgraftError(error, 'LOSS_NOT_FINITE')) throw error;
    return { curve, ended: 'notFinite' };
  }
  return { curve, ended: 'finished' };
}

/** One optimizer step after the other, each with the next rate: the mean loss of its batches. */
async function* steps(sweep: Sweep): AsyncGenerator<{ learningRate: number; loss: number }, void, void> {
  let step = 0;
  for (let epoch = 1; step < sweep.rates.length; epoch++) {
    const source = sweep.source(epoch);
    let done = 0;
    let sums = { loss: 0, count: 0 };
    for await (const batch of source) {
      throwIfAborted(sweep.signal);
      done += 1;
      const learningRate = sweep.rates[step] as number;
      const isLast = done === source.length;
      const result = await takeBatch(sweep, batch, { epoch, learningRate, flush: isLast });
      sums = { loss: sums.loss + result.loss * result.count, count: sums.count + result.count };
      if (!isLast && done % sweep.accumulate !== 0) continue;
      yield { learningRate, loss: sums.loss / sums.count };
      sums = { loss: 0, count: 0 };
      if (++step === sweep.rates.length) return;
    }
    if (done === 0) {
      throw new TorchgraftError(
        'DATA_INVALID',
        'findLearningRate: none of the training images can be decoded.',
      );
    }
  }
}

async function takeBatch(
  { model, ratesOfGroups }: Sweep,
  batch: SourceBatch,
  { epoch, learningRate, flush }: { epoch: number; learningRate: number; flush: boolean },
): Promise<{ loss: number; count: number }> {
  const target = targetOf(batch);
  const learningRates = ratesOfGroups(learningRate);
  return withBatch(batch, (tensors) =>
    model.native.step({ ...tensors, target, ...batch.weighing, epoch, learningRates, flush }),
  );
}

/** An exponential average without the pull of its first value, 0: divided by 1 - beta^n, as Adam's moments are. */
function smoother(): (loss: number) => number {
  let average = 0;
  let count = 0;
  return (loss) => {
    count += 1;
    average = beta * average + (1 - beta) * loss;
    return average / (1 - beta ** count);
  };
}
