import type { ModelCard } from '../card.js';
import type { ImageDataset } from '../data/dataset.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { EarlyStopping } from '../early-stopping.js';
import { invalidType, invalidValue, TorchgraftError, throwIfAborted } from '../errors.js';
import { metricNames } from '../metrics/names.js';
import type { Model } from '../model.js';
import { callNative } from '../native-call.js';
import { OutcomeCollector, type Outcomes } from '../outcomes.js';
import { learningRateFactor } from '../schedule.js';
import { versions } from '../versions.js';
import { readCheckpoint, recipeOf, writeCheckpoint } from './checkpoint.js';
import { Computation, type ComputationReport } from './computation.js';
import { evaluateSplit, noSums, type Reading, type TrainSums, trainEpoch } from './epoch.js';
import { type CheckedOptions, checkFineTuneOptions, type FineTuneOptions } from './options.js';
import { type Prepared, prepareModel } from './prepare.js';
import { type EpochReport, makeReport } from './report.js';

/** What a finished, stopped or broken-off fine-tuning came to. */
export interface FineTuneResult {
  /** The model before the first step. */
  baseline: EpochReport;
  /** Epochs 1, 2, ... */
  history: EpochReport[];
  /** The epoch whose weights the model has now; may be the baseline. */
  best: EpochReport;
  /** Why it ended: all epochs done, early stopping, or the caller left the loop or aborted. */
  ended: 'finished' | 'early' | 'left';
  preprocessing: Preprocessing;
  /** The cut, precision and what was kept. */
  computation: ComputationReport;
}

/**
 * Fine-tunes a model on a folder of images. Iterate over it: each epoch is a report; leaving the loop stops training.
 * However it ends, the model has the weights of the best epoch (the model before the first step included), is put into
 * eval mode, and carries classes, preprocessing and provenance, ready for `save`.
 *
 * @example
 * const run = fineTune(model, await imageFolder('flowers'), { epochs: 5 });
 * for await (const epoch of run) console.log(epoch.epoch, epoch.validation.accuracy);
 * await model.save('flowers.pt');
 *
 * @throws INVALID_TYPE, INVALID_VALUE (options), NO_HEAD, MODEL_FROZEN, LOSS_NOT_FINITE, IMAGE_UNREADABLE, ABORTED,
 * CHECKPOINT_INVALID, BUSY, DISPOSED
 */
export function fineTune(model: Model, data: ImageDataset, options: FineTuneOptions = {}): FineTuning {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('fineTune: expected a Model from loadModel.');
  if (!data?.splits?.train) throw invalidType('fineTune: expected data from imageFolder or imageManifest.');
  return new FineTuning(model, data, checkFineTuneOptions(options));
}

/** Checkpoints take at most about a twentieth of a run. */
const checkpointShare = 19;

/** Most memory for the logits of a validation pass; the last pass and the best are kept. */
const outcomeBytes = 64 * 2 ** 20;

interface PassOutcomes {
  collected: OutcomeCollector;
  skipped: EpochReport['skipped'];
}

/** Models in a loop: between two batches nothing native would refuse a second one. */
const underWay = new WeakSet<Model>();

/** A fine-tuning under way: an async iterable of epoch reports. */
export class FineTuning implements AsyncIterable<EpochReport> {
  readonly #model: Model;
  readonly #data: ImageDataset;
  readonly #options: CheckedOptions;
  readonly #recipe: Record<string, unknown>;
  readonly #reading: Omit<Reading, 'preprocessing'>;
  readonly #stopping: EarlyStopping;
  #prepared: Prepared | undefined;
  #computation: Computation | undefined;
  #baseline: EpochReport | undefined;
  #history: EpochReport[] = [];
  /** Of the last validation pass, and of the one whose weights are the best. */
  #lastOutcomes: PassOutcomes | undefined;
  #bestOutcomes: PassOutcomes | undefined;
  /** The last finished epoch is in no checkpoint yet. */
  #isUnsaved = false;
  #saved = { at: Number.NEGATIVE_INFINITY, took: 0 };
  #isStarted = false;
  #ended: FineTuneResult['ended'] = 'left';

  /** Use {@link fineTune}. @internal */
  constructor(model: Model, data: ImageDataset, options: CheckedOptions) {
    this.#model = model;
    this.#data = data;
    this.#options = options;
    this.#recipe = recipeOf(options, data.summary.fingerprint);
    const { batchSize, threads, unreadable } = options;
    this.#reading = { batchSize, threads, unreadable };
    const known = ['trainLoss', 'trainAccuracy', ...metricNames('val', data.classes)];
    this.#stopping = new EarlyStopping(options.earlyStopping, known);
    if (options.schedule.kind === 'plateau' && !known.includes(options.schedule.metric)) {
      throw invalidValue(`fineTune: schedule: unknown metric \`${options.schedule.metric}\`.`);
    }
  }

  /** The model before the first step; undefined until the iteration has begun. */
  get baseline(): EpochReport | undefined {
    return this.#baseline;
  }

  /** How the run is computed; undefined until the iteration has begun. */
  get computation(): ComputationReport | undefined {
    return this.#computation?.report;
  }

  /** What it came to, once the iteration has ended; undefined when it ended before the baseline was measured. */
  get result(): FineTuneResult | undefined {
    if (!this.#baseline || !this.#prepared || !this.#computation) return undefined;
    const best = this.#reports()[this.#stopping.best?.epoch ?? 0] ?? this.#baseline;
    return {
      baseline: this.#baseline,
      history: [...this.#history],
      best,
      ended: this.#ended,
      preprocessing: this.#prepared.preprocessing,
      computation: this.#computation.report,
    };
  }

  /**
   * What the best weights said of each validation image. Undefined before there are any, where they are from before this
   * run was resumed, and where the logits take more than 64 MiB.
   */
  get validationOutcomes(): Outcomes | undefined {
    return this.#bestOutcomes?.collected.outcomes(this.#bestOutcomes.skipped);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<EpochReport, void, void> {
    if (this.#isStarted)
      throw invalidValue('fineTune: a run is iterated once. Call fineTune again for another.');
    this.#isStarted = true;
    throwIfAborted(this.#options.signal);
    if (underWay.has(this.#model)) {
      throw new TorchgraftError('BUSY', 'fineTune: this model is being fine-tuned. Leave that loop first.');
    }
    underWay.add(this.#model);
    try {
      this.#prepared = await prepareModel(this.#model, this.#data, this.#options);
      let sums = await this.#begin();
      if (this.#ended === 'early') return;
      for (let epoch = this.#history.length + 1; epoch <= this.#options.epochs; epoch++) {
        this.#isUnsaved = false;
        const { report, stop } = await this.#runEpoch(epoch, sums);
        sums = noSums;
        // Set before the report is given: a loop that is left at the last epoch has finished.
        if (stop) this.#ended = 'early';
        if (epoch === this.#options.epochs) this.#ended = 'finished';
        yield report;
        if (stop) break;
      }
    } finally {
      // Left between two epochs, or finished: nothing has changed since the last one.
      try {
        if (this.#isUnsaved) await this.#checkpoint(noSums, true);
      } finally {
        await this.#finish();
      }
    }
  }

  /** Resumes from the checkpoint, or measures the baseline. Returns the sums of an epoch that was interrupted. */
  async #begin(): Promise<TrainSums> {
    const { checkpoint, resume } = this.#options;
    const state =
      checkpoint && resume
        ? await readCheckpoint(checkpoint, this.#model, this.#recipe, this.#stopping)
        : undefined;
    this.#computation = await Computation.begin({
      model: this.#model,
      data: this.#data,
      options: this.#options,
      reading: this.#fullReading(),
      precision: state?.precision,
    });
    if (state) {
      this.#baseline = state.baseline;
      this.#history = state.history;
      const { patience = Number.POSITIVE_INFINITY } = this.#options.earlyStopping;
      if (this.#history.length >= this.#options.epochs) this.#ended = 'finished';
      else if (state.stopping.waited >= patience) this.#ended = 'early';
      return state.sums;
    }
    this.#baseline = await this.#validate(0, noSums, 0, []);
    await this.#judge(this.#baseline);
    await this.#checkpoint(noSums);
    return noSums;
  }

  async #runEpoch(epoch: number, from: TrainSums): Promise<{ report: EpochReport; stop: boolean }> {
    const { accumulate, optimizer, signal, onBatch } = this.#options;
    const { sums, skipped } = await trainEpoch({
      model: this.#model,
      source: (this.#computation as Computation).trainSource(epoch, from.batches),
      total: this.#data.splits.train.length,
      epoch,
      optimizer: optimizer.kind,
      accumulate,
      from,
      learningRates: (batch) => this.#learningRates(epoch, batch),
      signal,
      onBatch,
      onStopped: (done) => this.#checkpoint(done, true),
    });
    const report = await this.#validateTrained(epoch, sums, skipped);
    this.#history.push(report);
    const stop = await this.#judge(report);
    await this.#checkpoint(noSums);
    return { report, stop };
  }

  async #validateTrained(epoch: number, sums: TrainSums, skipped: EpochReport['skipped']) {
    const rate = this.#largestRate(epoch, sums.batches - 1);
    try {
      return await this.#validate(epoch, sums, rate, skipped);
    } catch (error) {
      const code = error instanceof TorchgraftError ? error.code : undefined;
      // The epoch is trained: a resumed run only validates it.
      if (code === 'ABORTED') await this.#checkpoint(sums, true);
      if (code !== 'MODEL_FAILED') throw error;
      throw new TorchgraftError(
        'LOSS_NOT_FINITE',
        `After batch ${sums.batches} of epoch ${epoch}, with a learning rate of ${rate.toPrecision(3)}, the model ` +
          'gives no finite outputs any more. Try a learning rate ten times lower, or clipNorm: 1. The best weights ' +
          'so far are kept.',
        { cause: error },
      );
    }
  }

  async #validate(
    epoch: number,
    sums: TrainSums,
    learningRate: number,
    trainSkipped: EpochReport['skipped'],
  ): Promise<EpochReport> {
    const start = performance.now();
    const collected = new OutcomeCollector(this.#data.classes, outcomeBytes);
    const { metrics, skipped } = await evaluateSplit({
      model: this.#model,
      source: (this.#computation as Computation).valSource(),
      total: this.#data.splits.val.length,
      classes: this.#data.classes,
      epoch,
      onLogits: (batch, logits) => collected.add(batch, logits),
      onBatch: this.#options.onBatch,
    });
    this.#lastOutcomes = { collected, skipped };
    return makeReport(epoch, sums, metrics, {
      learningRate,
      seconds: sums.seconds + (performance.now() - start) / 1000,
      skipped: [...trainSkipped, ...skipped],
    });
  }

  /** Keeps the weights when they are the best so far. Returns whether to stop. */
  async #judge(report: EpochReport): Promise<boolean> {
    // Training metrics are not known of epoch 0; a run judged by one starts at epoch 1.
    if (!(this.#stopping.metric in report.metrics) && report.epoch === 0) return false;
    const { best, stop } = this.#stopping.update(report.epoch, report.metrics);
    report.isBest = best;
    if (best) {
      await callNative(() => this.#model.native.keepBest());
      this.#bestOutcomes = this.#lastOutcomes;
    }
    return stop;
  }

  async #checkpoint(sums: TrainSums, isStopping = false): Promise<void> {
    const { checkpoint } = this.#options;
    if (!checkpoint || !this.#baseline) return;
    const start = performance.now();
    // Epochs on kept features take milliseconds, a checkpoint's flush to the disk ten times that.
    this.#isUnsaved = !isStopping && start - this.#saved.at < this.#saved.took * checkpointShare;
    if (this.#isUnsaved) return;
    await writeCheckpoint(checkpoint, this.#model, {
      epoch: this.#history.length,
      sums,
      baseline: this.#baseline,
      history: this.#history,
      stopping: this.#stopping.toJSON(),
      precision: (this.#computation as Computation).report.plan.precision,
      recipe: this.#recipe,
    });
    const end = performance.now();
    this.#saved = { at: end, took: end - start };
  }

  /** Best weights back, and the card for `save`. */
  async #finish(): Promise<void> {
    underWay.delete(this.#model);
    this.#computation?.dispose();
    if (this.#stopping.best) await callNative(() => this.#model.native.restoreBest());
    if (this.result) this.#model.card = this.#card(this.result);
  }

  #card({ best, baseline, history, preprocessing }: FineTuneResult): ModelCard {
    return {
      format: 1,
      classes: [...this.#data.classes],
      preprocessing,
      provenance: {
        source: this.#model.origin,
        // A model that was adapted before keeps its history.
        ...(this.#model.card ? { before: this.#model.card.provenance } : {}),
        data: this.#data.summary,
        options: this.#recipe,
        versions: versions(),
        date: new Date().toISOString(),
      },
      metrics: {
        bestEpoch: best.epoch,
        epochs: history.length,
        validation: best.validation,
        baseline: { loss: baseline.validation.loss, accuracy: baseline.validation.accuracy },
      },
    };
  }

  #learningRates(epoch: number, batch: number): number[] {
    const { schedule, epochs, batchSize, accumulate } = this.#options;
    const stepsPerEpoch = Math.ceil(Math.ceil(this.#data.splits.train.length / batchSize) / accumulate);
    const factor = learningRateFactor(schedule, {
      step: (epoch - 1) * stepsPerEpoch + Math.floor(batch / accumulate),
      totalSteps: epochs * stepsPerEpoch,
      stepsPerEpoch,
      ...(schedule.kind === 'plateau'
        ? { history: this.#history.map(({ metrics }) => metrics[schedule.metric] as number) }
        : {}),
    });
    return (this.#prepared as Prepared).groups.map(({ learningRate }) => learningRate * factor);
  }

  #largestRate(epoch: number, batch: number): number {
    const learns = new Set(this.#model.trainable);
    const { groups } = this.#prepared as Prepared;
    const rates = this.#learningRates(epoch, Math.max(0, batch));
    return Math.max(
      ...rates.filter((_, index) => groups[index]?.parameters.some((name) => learns.has(name))),
    );
  }

  #fullReading(): Reading {
    return { ...this.#reading, preprocessing: (this.#prepared as Prepared).preprocessing };
  }

  #reports(): EpochReport[] {
    return [this.#baseline as EpochReport, ...this.#history];
  }
}
