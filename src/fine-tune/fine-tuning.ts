import { cleaningUp, cleanUp } from '../clean-up.js';
import type { ImageDataset } from '../data/dataset.js';
import { DecodedImages } from '../data/decoded-images.js';
import type { Task } from '../data/task.js';
import type { EarlyStopping } from '../early-stopping.js';
import { invalidValue, isTorchgraftError, TorchgraftError, throwIfAborted } from '../errors.js';
import type { Loan } from '../loan.js';
import type { Validation } from '../metrics/tasks.js';
import type { Model } from '../model.js';
import type { Plan } from '../native.js';
import { callNative } from '../native-call.js';
import type { Outcomes } from '../outcomes.js';
import { Stopwatch } from '../stopwatch.js';
import { requireWritableFile } from '../writable.js';
import {
  type CheckpointState,
  checkSameModel,
  checkSameRecipe,
  describeExtension,
  type Extension,
  extensionOf,
  loadCheckpoint,
  readCheckpoint,
  recipeOf,
  strangeStage,
  writeCheckpoint,
} from './checkpoint.js';
import { type CheckpointModel, identifyModel } from './checkpoint-model.js';
import type { Computation, ComputationReport } from './computation.js';
import {
  divergence,
  evaluateTask,
  noSums,
  type OnBatch,
  type Reading,
  type TrainSums,
  trainEpoch,
} from './epoch.js';
import { EvidenceKeeper } from './evidence.js';
import { dataFingerprint } from './group-training.js';
import type { CheckedOptions } from './options.js';
import { type Prepared, prepareModel } from './prepare.js';
import { type EpochReport, makeReport, reviveReport } from './report.js';
import type { FineTuneResult } from './result.js';
import { makeCard } from './run-card.js';
import { RunEnd } from './run-end.js';
import { mostNames, slimReport } from './slim-report.js';
import { configureStage, type StageReport, StageRun } from './stage-run.js';
import { stoppingOf } from './stopping.js';
import { endOf, nextStep } from './strategies/next.js';
import type { Stage } from './strategies/stage.js';
import { ValidationOutcomes } from './validation-outcomes.js';

/** Checkpoints take at most about a twentieth of a run. */
const checkpointShare = 19;

/**
 * A fine-tuning: an async iterable of epoch reports, and a promise of what it comes to. Nothing is trained before it is
 * iterated or awaited. Awaited, it runs to its end; awaited after it was iterated, or beside that, it gives the result, or
 * throws what the iteration threw.
 *
 * An async function that returns a FineTuning waits for it, as for any promise, and its caller gets the result. To hand
 * on a run that is to be iterated, put it into an object, or return it from a function that is not async.
 *
 * @typeParam T of the data: `FineTuning<Task>` where it is not known
 */
export class FineTuning<T extends Task = 'single-label'>
  implements AsyncIterable<EpochReport<T>>, PromiseLike<FineTuneResult<T>>
{
  /** From when it begins, the one that others cannot use meanwhile. */
  #model: Model;
  readonly #loan: Loan;
  readonly #data: ImageDataset<T>;
  readonly #options: CheckedOptions;
  /** Epochs after which this iteration ends, with a checkpoint from which the run can go on. */
  readonly #until: number;
  readonly #recipe: Record<string, unknown>;
  readonly #reading: Omit<Reading, 'preprocessing'>;
  readonly #stopping: EarlyStopping;
  /** The model as it was given, where there is a checkpoint. */
  #source: CheckpointModel | undefined;
  #prepared: Prepared | undefined;
  #run: StageRun | undefined;
  /** The stage of the next epoch; undefined when there is none. */
  #upcoming: Stage | undefined;
  #stages: StageReport[] = [];
  #extensions: Extension[] = [];
  readonly #outcomes: ValidationOutcomes;
  #decoded: DecodedImages | undefined;
  #baseline: EpochReport<T> | undefined;
  #history: EpochReport<T>[] = [];
  /** The last finished epoch is in no checkpoint yet. */
  #isUnsaved = false;
  #saved = { at: Number.NEGATIVE_INFINITY, took: 0 };
  readonly #watch = new Stopwatch();
  #isStarted = false;
  /** It waits for the body of its loop. */
  #isPaused = false;
  readonly #end = new RunEnd<FineTuneResult<T>>();
  #ended: FineTuneResult['ended'] = 'left';

  /** Use `fineTune`. @internal */
  constructor(
    model: Model,
    data: ImageDataset<T>,
    options: CheckedOptions,
    until = Number.POSITIVE_INFINITY,
  ) {
    this.#model = model;
    this.#loan = model.lend('fineTune');
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
    return [...(this.#prepared?.strategy.notices ?? []), ...this.#extensions.map(describeExtension), ...made];
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
      seconds: this.#watch.seconds,
    };
  }

  /**
   * What the best weights said of each validation image. Undefined before there are any, where they are from before this
   * run was resumed, and where the logits take more than 64 MiB.
   */
  get validationOutcomes(): Outcomes | undefined {
    return this.#outcomes.best;
  }

  /** Runs to the end where it has not begun. Rejects with BUSY in the body of the loop, which would wait for itself. */
  then<R = FineTuneResult<T>, E = never>(
    onFulfilled?: ((result: FineTuneResult<T>) => R | PromiseLike<R>) | null,
    onRejected?: ((error: any) => E | PromiseLike<E>) | null,
  ): Promise<R | E> {
    return this.#wait().then(onFulfilled, onRejected);
  }

  catch<E = never>(onRejected?: ((error: any) => E | PromiseLike<E>) | null): Promise<FineTuneResult<T> | E> {
    return this.#wait().catch(onRejected);
  }

  finally(onSettled?: (() => void) | null): Promise<FineTuneResult<T>> {
    return this.#wait().finally(onSettled);
  }

  async #wait(): Promise<FineTuneResult<T>> {
    if (this.#isPaused) {
      throw new TorchgraftError(
        'BUSY',
        'fineTune: this run waits for the body of its loop, and would wait for ever. Await it behind the loop.',
      );
    }
    // What goes wrong in it is told to all who wait.
    if (!this.#isStarted) this.#runToEnd().catch(() => {});
    return this.#end.wait();
  }

  async #runToEnd(): Promise<void> {
    for await (const _ of this);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<EpochReport<T>, void, void> {
    if (this.#isStarted)
      throw invalidValue('fineTune: a run is iterated or awaited once. Call fineTune again for another.');
    this.#isStarted = true;
    try {
      yield* this.#epochs();
      this.#end.finish(this.result as FineTuneResult<T>);
    } catch (error) {
      this.#end.fail(error);
      throw error;
    } finally {
      // Left by its consumer.
      this.#end.finish(this.result as FineTuneResult<T>);
    }
  }

  async *#epochs(): AsyncGenerator<EpochReport<T>, void, void> {
    throwIfAborted(this.#options.signal);
    await this.#loan.take();
    this.#model = this.#loan.model;
    let hasFailed = false;
    try {
      // Not after the minutes that preparing may take.
      if (this.#options.checkpoint) await requireWritableFile(this.#options.checkpoint);
      const state = await this.#readCheckpoint();
      this.#prepared = await this.#watch.spend('preparation', () =>
        prepareModel(this.#model, this.#data, this.#options, this.#watch),
      );
      let sums = await this.#begin(state);
      this.#lookAhead();
      while (this.#upcoming && this.#history.length < this.#until) {
        this.#isUnsaved = false;
        await this.#enter(this.#upcoming);
        const report = await this.#runEpoch(sums).catch((error) => this.#endBy(error));
        if (!report) break;
        sums = noSums;
        // Before the report is given: a loop that is left at the last epoch has finished.
        this.#lookAhead();
        this.#letRead();
        yield report;
        await this.#goOn();
      }
    } catch (error) {
      hasFailed = true;
      throw error;
    } finally {
      // Left between two epochs, the model may still be read.
      await this.#goOn();
      try {
        await cleanUp(() => this.#leave(), hasFailed);
      } finally {
        this.#loan.giveBack();
      }
    }
  }

  /** A checkpoint of another run is refused before anything is done. */
  async #readCheckpoint(): Promise<CheckpointState | undefined> {
    const { checkpoint, resume } = this.#options;
    if (!checkpoint) return undefined;
    this.#source = await identifyModel(this.#model);
    const state = resume ? await readCheckpoint(checkpoint) : undefined;
    if (!state) return undefined;
    checkSameModel(checkpoint, state, this.#source);
    // What is held against forgetting is known later.
    const { source, retained } = state.recipe;
    checkSameRecipe(checkpoint, state, JSON.parse(JSON.stringify({ ...this.#recipe, source, retained })));
    return state;
  }

  /** Resumes from the checkpoint, or measures the baseline. Returns the sums of an epoch that was interrupted. */
  async #begin(state: CheckpointState | undefined): Promise<TrainSums> {
    const { checkpoint } = this.#options;
    const { strategy, forgetting } = this.#prepared as Prepared;
    const { stages, decide } = strategy;
    Object.assign(this.#recipe, forgetting?.recipe);
    if (checkpoint && state) checkSameRecipe(checkpoint, state, this.#recipe);
    if (decide) this.#outcomes.evidence = new EvidenceKeeper(state?.evidence);
    if (checkpoint && state) return this.#resume(checkpoint, state);
    await this.#start(stages[0]);
    this.#baseline = await this.#validate(0, noSums, 0, []);
    await this.#judge(this.#baseline);
    await this.#checkpoint(noSums);
    return noSums;
  }

  async #resume(checkpoint: string, state: CheckpointState): Promise<TrainSums> {
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
    this.#stopping.restore(state.stopping);
    const extension = extensionOf(state, this.#options.epochs);
    this.#extensions = [...(state.extensions ?? []), ...(extension ? [extension] : [])];
    const { unfit } = await this.#plan(stage, last.firstEpoch, state.plan);
    if (unfit && stage.optimizer.kind === 'lbfgs') throw unfit;
    this.#baseline = reviveReport(state.baseline as EpochReport<T>);
    this.#history = (state.history as EpochReport<T>[]).map(reviveReport);
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

  async #plan(stage: Stage, firstEpoch: number, resumed?: Plan): Promise<Computation> {
    const { decodedBytes: maxBytes } = this.#options;
    const { epochs } = (this.#prepared as Prepared).strategy;
    const decoded = () => {
      this.#decoded ??= new DecodedImages(maxBytes === undefined ? {} : { maxBytes });
      return this.#decoded;
    };
    const settings = { ...this.#settings(), resumed, firstEpoch, epochs };
    const run = await this.#watch.spend('planning', () =>
      StageRun.begin({ ...settings, decoded: epochs > 1 ? decoded : undefined }, stage),
    );
    this.#run = run;
    this.#stages.push(run.report);
    return run.computation;
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
    const { sums, skipped } = await this.#watch.spend('training', () =>
      trainEpoch({
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
      }),
    );
    const report = await this.#validateTrained(epoch, sums, skipped);
    this.#history.push(report);
    run.report.epochs += 1;
    await this.#judge(report);
    this.#slimHistory();
    await this.#checkpoint(noSums);
    return report;
  }

  /** Of very many classes each one's figures are kept for the best and the last epoch. */
  #slimHistory(): void {
    if (this.#data.classes.length <= mostNames) return;
    const { earlyStopping, schedule } = this.#options;
    const inUse = [earlyStopping.metric, ...(schedule.kind === 'plateau' ? [schedule.metric] : [])];
    const kept = [this.#stopping.best?.epoch, this.#history.length];
    this.#history = this.#history.map((report) =>
      kept.includes(report.epoch) ? report : slimReport(report, inUse),
    );
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
    const { metrics, skipped } = await this.#watch.spend('validation', () =>
      evaluateTask({
        model: this.#model,
        source: (this.#run as StageRun).computation.valSource(),
        total: this.#data.splits.val.length,
        ...{ classes: this.#data.classes, task: this.#data.task, epoch },
        onLogits: this.#outcomes.begin(),
        onBatch: this.#onBatch(),
      }),
    );
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
    const state: CheckpointState = {
      epoch: this.#history.length,
      sums,
      stages: this.#stages,
      evidence: this.#outcomes.evidence?.evidence,
      baseline: this.#baseline,
      history: this.#history,
      stopping: this.#stopping.toJSON(),
      plan: (this.#run as StageRun).computation.report.plan,
      recipe: this.#recipe,
      ...(this.#extensions.length > 0 ? { extensions: this.#extensions } : {}),
      ...(this.#source ? { model: this.#source } : {}),
    };
    await this.#watch.spend('checkpoints', () => writeCheckpoint(checkpoint, this.#model, state));
    this.#saved = { at: performance.now(), took: performance.now() - start };
  }

  #letRead(): void {
    this.#isPaused = true;
    this.#loan.pause();
  }

  async #goOn(): Promise<void> {
    this.#isPaused = false;
    await this.#loan.resume();
  }

  async #leave(): Promise<void> {
    this.#decoded?.dispose();
    await cleaningUp(
      async () => {
        // Left between two epochs, or finished: nothing has changed since the last one.
        if (this.#isUnsaved) await this.#checkpoint(noSums, true);
      },
      () => this.#finish(),
    );
  }

  /** Best weights back, and the card for `save`. */
  async #finish(): Promise<void> {
    await cleaningUp(
      async () => {
        if (this.#stopping.best) await callNative(() => this.#model.native.restoreBest());
      },
      () => this.#prepared?.forgetting?.finish(),
    );
    const { result } = this;
    if (result) this.#model.card = makeCard(this.#settings(), this.#recipe, result);
  }

  #onBatch(): OnBatch | undefined {
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
    return {
      ...{ model: this.#model, data: this.#data, options: this.#options, reading, forgetting },
      watch: this.#watch,
    };
  }
}
