import type { ImageDataset } from '../data/dataset.js';
import { DecodedImages } from '../data/decoded-images.js';
import type { Task } from '../data/task.js';
import type { EarlyStopping } from '../early-stopping.js';
import { invalidValue, isTorchgraftError, throwIfAborted } from '../errors.js';
import type { Validation } from '../metrics/tasks.js';
import type { Model } from '../model.js';
import type { Precision } from '../native.js';
import { callNative } from '../native-call.js';
import type { Outcomes } from '../outcomes.js';
import { requireWritableFile } from '../writable.js';
import {
  type CheckpointState,
  loadCheckpoint,
  readCheckpoint,
  recipeOf,
  strangeStage,
  writeCheckpoint,
} from './checkpoint.js';
import type { Computation, ComputationReport } from './computation.js';
import {
  divergence,
  evaluateTask,
  noSums,
  type Progress,
  type Reading,
  type TrainSums,
  trainEpoch,
} from './epoch.js';
import { EvidenceKeeper } from './evidence.js';
import { dataFingerprint } from './group-training.js';
import type { CheckedOptions } from './options.js';
import { type Prepared, prepareModel } from './prepare.js';
import { type EpochReport, makeReport } from './report.js';
import type { FineTuneResult } from './result.js';
import { makeCard } from './run-card.js';
import { configureStage, type StageReport, StageRun } from './stage-run.js';
import { stoppingOf } from './stopping.js';
import { endOf, nextStep } from './strategies/next.js';
import type { Stage } from './strategies/stage.js';
import { claim, release } from './under-way.js';
import { ValidationOutcomes } from './validation-outcomes.js';

/** Checkpoints take at most about a twentieth of a run. */
const checkpointShare = 19;

/**
 * A fine-tuning under way: an async iterable of epoch reports.
 *
 * @typeParam T of the data: `FineTuning<Task>` where it is not known
 */
export class FineTuning<T extends Task = 'single-label'> implements AsyncIterable<EpochReport<T>> {
  readonly #model: Model;
  readonly #data: ImageDataset<T>;
  readonly #options: CheckedOptions;
  /** Epochs after which this iteration ends, with a checkpoint from which the run can go on. */
  readonly #until: number;
  readonly #recipe: Record<string, unknown>;
  readonly #reading: Omit<Reading, 'preprocessing'>;
  readonly #stopping: EarlyStopping;
  #prepared: Prepared | undefined;
  #run: StageRun | undefined;
  /** The stage of the next epoch; undefined when there is none. */
  #upcoming: Stage | undefined;
  #stages: StageReport[] = [];
  /** What `auto` came to in the first stage; the others have the same where it proves equal, so that no clock decides. */
  #precision: Precision | undefined;
  readonly #outcomes: ValidationOutcomes;
  #decoded: DecodedImages | undefined;
  #baseline: EpochReport<T> | undefined;
  #history: EpochReport<T>[] = [];
  /** The last finished epoch is in no checkpoint yet. */
  #isUnsaved = false;
  #saved = { at: Number.NEGATIVE_INFINITY, took: 0 };
  #isStarted = false;
  #ended: FineTuneResult['ended'] = 'left';

  /** Use `fineTune`. @internal */
  constructor(
    model: Model,
    data: ImageDataset<T>,
    options: CheckedOptions,
    until = Number.POSITIVE_INFINITY,
  ) {
    this.#model = model;
    this.#data = data;
    this.#outcomes = new ValidationOutcomes(data, options.groups);
    this.#options = options;
    this.#until = until;
    this.#recipe = recipeOf(options, dataFingerprint(options.groups, data));
    const { batchSize, threads, unreadable } = options;
    this.#reading = { batchSize, threads, unreadable };
    this.#stopping = stoppingOf(options, data);
  }

  /** The model before the first step; undefined until the iteration has begun. */
  get baseline(): EpochReport<T> | undefined {
    return this.#baseline;
  }

  /** How the stage under way is computed; undefined until the iteration has begun. */
  get computation(): ComputationReport | undefined {
    return this.#run?.computation.report;
  }

  /** The parts of the run so far, the last being under way; empty until the iteration has begun. */
  get stages(): StageReport[] {
    return structuredClone(this.#stages);
  }

  /** What was decided so far and why, one sentence each. */
  get decisions(): string[] {
    const made = this.#stages.flatMap(({ decision }) => decision ?? []);
    return [...(this.#prepared?.strategy.notices ?? []), ...made];
  }

  /** What it came to, once the iteration has ended; undefined when it ended before the baseline was measured. */
  get result(): FineTuneResult<T> | undefined {
    if (!this.#baseline || !this.#prepared || !this.#run) return undefined;
    // Where the metric was undefined throughout, no weights were kept, and the model has those of the last epoch.
    const best =
      [this.#baseline, ...this.#history][this.#stopping.best?.epoch ?? this.#history.length] ??
      this.#baseline;
    return {
      baseline: this.#baseline,
      history: [...this.#history],
      best,
      ended: this.#ended,
      baselines: this.#prepared.baselines,
      preprocessing: this.#prepared.preprocessing,
      computation: this.#run.computation.report,
      stages: this.stages,
      decisions: this.decisions,
      retention: this.#prepared.forgetting?.retention,
    };
  }

  /**
   * What the best weights said of each validation image. Undefined before there are any, where they are from before this
   * run was resumed, and where the logits take more than 64 MiB.
   */
  get validationOutcomes(): Outcomes | undefined {
    return this.#outcomes.best;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<EpochReport<T>, void, void> {
    if (this.#isStarted)
      throw invalidValue('fineTune: a run is iterated once. Call fineTune again for another.');
    this.#isStarted = true;
    throwIfAborted(this.#options.signal);
    claim(this.#model);
    try {
      // Not after the minutes that preparing may take.
      if (this.#options.checkpoint) await requireWritableFile(this.#options.checkpoint);
      this.#prepared = await prepareModel(this.#model, this.#data, this.#options);
      Object.assign(this.#recipe, this.#prepared.forgetting?.recipe);
      let sums = await this.#begin();
      this.#lookAhead();
      while (this.#upcoming && this.#history.length < this.#until) {
        this.#isUnsaved = false;
        await this.#enter(this.#upcoming);
        const report = await this.#runEpoch(sums).catch((error) => this.#endBy(error));
        if (!report) break;
        sums = noSums;
        // Before the report is given: a loop that is left at the last epoch has finished.
        this.#lookAhead();
        yield report;
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
    const { stages, decide } = (this.#prepared as Prepared).strategy;
    const state = checkpoint && resume ? await readCheckpoint(checkpoint, this.#recipe) : undefined;
    if (decide) this.#outcomes.evidence = new EvidenceKeeper(state?.evidence);
    if (checkpoint && state) return this.#resume(checkpoint, state);
    await this.#start(stages[0]);
    this.#baseline = await this.#validate(0, noSums, 0, []);
    await this.#judge(this.#baseline);
    await this.#checkpoint(noSums);
    return noSums;
  }

  async #resume(checkpoint: string, state: CheckpointState): Promise<TrainSums> {
    this.#stopping.restore(state.stopping);
    const { stages } = (this.#prepared as Prepared).strategy;
    const before = state.stages.slice(0, -1);
    const last = state.stages.at(-1);
    const planned = stages[before.length];
    if (!last || !planned) throw strangeStage(checkpoint);
    this.#stages = before;
    // What the run fell back to, it goes on with.
    const stage = last.optimizer === planned.optimizer.kind ? planned : (planned.otherwise ?? planned);
    await configureStage(this.#settings(), stage, false);
    await loadCheckpoint(checkpoint, this.#model);
    this.#precision = state.precision;
    const { unfit } = await this.#plan(stage, last.firstEpoch, last.precision);
    if (unfit && stage.optimizer.kind === 'lbfgs') throw unfit;
    this.#baseline = state.baseline as EpochReport<T>;
    this.#history = state.history as EpochReport<T>[];
    (this.#run as StageRun).report.epochs = last.epochs;
    return state.sums;
  }

  /** Begins a stage that is not under way yet. */
  async #enter(stage: Stage): Promise<void> {
    if (stage === this.#run?.stage) return;
    if (!stage.continues && this.#stopping.best) await callNative(() => this.#model.native.restoreBest());
    this.#stopping.renew();
    this.#outcomes.evidence?.beginStage();
    await this.#start(stage);
  }

  async #start(stage: Stage): Promise<void> {
    await configureStage(this.#settings(), stage, stage.continues);
    // A new optimizer comes without the best weights; the model has them now.
    if (!stage.continues && this.#stopping.best) await callNative(() => this.#model.native.keepBest());
    const { unfit } = await this.#plan(stage, this.#history.length + 1);
    if (!unfit || stage.optimizer.kind !== 'lbfgs') return;
    if (!stage.otherwise) throw unfit;
    this.#stages.pop();
    await this.#start(stage.otherwise);
  }

  async #plan(stage: Stage, firstEpoch: number, precision = this.#precision): Promise<Computation> {
    const { decodedBytes: maxBytes } = this.#options;
    const { epochs } = (this.#prepared as Prepared).strategy;
    const decoded = () => {
      this.#decoded ??= new DecodedImages(maxBytes === undefined ? {} : { maxBytes });
      return this.#decoded;
    };
    const settings = { ...this.#settings(), precision, firstEpoch, epochs };
    const run = await StageRun.begin({ ...settings, decoded: epochs > 1 ? decoded : undefined }, stage);
    this.#run = run;
    this.#stages.push(run.report);
    const { computation } = run;
    this.#precision ??= computation.report.plan.precision;
    return computation;
  }

  /** Decides what the next epoch is part of. */
  #lookAhead(): void {
    const { stage, report } = this.#run as StageRun;
    const next = nextStep({
      strategy: (this.#prepared as Prepared).strategy,
      stage,
      index: this.#stages.length - 1,
      report,
      history: this.#history,
      isSpent: this.#stopping.isSpent,
      evidence: this.#outcomes.evidence?.evidence,
    });
    if (next.decision) report.decision = next.decision.why;
    if (next.ended) this.#ended = next.ended;
    this.#upcoming = next.stage;
  }

  /** `auto` has its probe's weights to end with. */
  #endBy(error: unknown): undefined {
    const { strategy } = this.#prepared as Prepared;
    (this.#run as StageRun).report.decision = endOf(strategy, this.#stages, error);
    this.#ended = 'early';
  }

  async #runEpoch(from: TrainSums): Promise<EpochReport<T>> {
    const epoch = this.#history.length + 1;
    const run = this.#run as StageRun;
    const { sums, skipped } = await trainEpoch({
      model: this.#model,
      source: run.computation.trainSource(epoch, from.batches),
      total: this.#data.splits.train.length,
      epoch,
      optimizer: run.stage.optimizer.kind,
      accumulate: run.stage.accumulate,
      from,
      learningRates: (batch) => run.learningRates(epoch, batch, this.#history),
      signal: this.#options.signal,
      onBatch: this.#onBatch(),
      onStopped: (done) => this.#checkpoint(done, true),
    });
    const report = await this.#validateTrained(epoch, sums, skipped);
    this.#history.push(report);
    run.report.epochs += 1;
    await this.#judge(report);
    await this.#checkpoint(noSums);
    return report;
  }

  async #validateTrained(epoch: number, sums: TrainSums, skipped: EpochReport['skipped']) {
    const rate = (this.#run as StageRun).largestRate(epoch, sums.batches - 1, this.#history);
    try {
      return await this.#validate(epoch, sums, rate, skipped);
    } catch (error) {
      const code = isTorchgraftError(error) ? error.code : undefined;
      // The epoch is trained: a resumed run only validates it.
      if (code === 'ABORTED') await this.#checkpoint(sums, true);
      if (code !== 'MODEL_FAILED') throw error;
      throw divergence(error, epoch, sums.batches, rate);
    }
  }

  async #validate(
    epoch: number,
    sums: TrainSums,
    learningRate: number,
    trainSkipped: EpochReport['skipped'],
  ): Promise<EpochReport<T>> {
    const start = performance.now();
    const { metrics, skipped } = await evaluateTask({
      model: this.#model,
      source: (this.#run as StageRun).computation.valSource(),
      total: this.#data.splits.val.length,
      ...{ classes: this.#data.classes, task: this.#data.task, epoch },
      onLogits: this.#outcomes.begin(),
      onBatch: this.#onBatch(),
    });
    return makeReport(epoch, sums, metrics as Validation<T>, {
      more: this.#outcomes.end(skipped),
      stage: epoch === 0 ? null : (this.#run as StageRun).stage.name,
      learningRate,
      seconds: sums.seconds + (performance.now() - start) / 1000,
      skipped: [...trainSkipped, ...skipped],
    });
  }

  /** Keeps the weights when they are the best so far. */
  async #judge(report: EpochReport<T>): Promise<void> {
    // Training metrics are not known of epoch 0; a run judged by one starts at epoch 1.
    if (!(this.#stopping.metric in report.metrics) && report.epoch === 0) return;
    const { best } = this.#stopping.update(report.epoch, report.metrics);
    report.isBest = best;
    if (!best) return;
    await callNative(() => this.#model.native.keepBest());
    this.#outcomes.keepBest();
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
      stages: this.#stages,
      evidence: this.#outcomes.evidence?.evidence,
      baseline: this.#baseline,
      history: this.#history,
      stopping: this.#stopping.toJSON(),
      precision: this.#precision as Precision,
      recipe: this.#recipe,
    });
    this.#saved = { at: performance.now(), took: performance.now() - start };
  }

  /** Best weights back, and the card for `save`. */
  async #finish(): Promise<void> {
    release(this.#model);
    this.#decoded?.dispose();
    if (this.#stopping.best) await callNative(() => this.#model.native.restoreBest());
    await this.#prepared?.forgetting?.finish();
    const { result } = this;
    if (result) this.#model.card = makeCard(this.#settings(), this.#recipe, result);
  }

  #onBatch(): ((progress: Progress) => void) | undefined {
    const { onBatch } = this.#options;
    if (!onBatch) return undefined;
    const rest = {
      stage: (this.#run as StageRun).stage.name,
      epochs: (this.#prepared as Prepared).strategy.epochs,
    };
    return (progress) => onBatch({ ...progress, ...rest });
  }

  #settings() {
    const { preprocessing, forgetting } = this.#prepared as Prepared;
    const reading = { ...this.#reading, preprocessing };
    return { model: this.#model, data: this.#data, options: this.#options, reading, forgetting };
  }
}
