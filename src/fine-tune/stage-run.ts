import { nativePreprocess } from '../data/preprocessing.js';
import type { Task } from '../data/task.js';
import type { Forgetting } from '../forgetting/forgetting.js';
import type { Model } from '../model.js';
import type { NativeOptimizer, Precision } from '../native.js';
import { learningRateFactor } from '../schedule.js';
import { Computation, type ComputationReport, type ComputationSettings } from './computation.js';
import { nativeGroups } from './group-training.js';
import type { EpochReport } from './report.js';
import type { Stage } from './strategies/stage.js';

/** What a stage was, for reports and checkpoints. Plain JSON. */
export interface StageReport {
  /** For example `head`, `probe`, `unfreeze 2 of 4`. */
  name: string;
  /** Its first epoch's number, and how many it has had. */
  firstEpoch: number;
  epochs: number;
  optimizer: NativeOptimizer['kind'];
  /** Of what learns, before the schedule. */
  learningRates: { lowest: number; highest: number };
  /** Parameters (tensors) that learn. */
  learning: number;
  /** Layers before the cut, compiled and without gradients; and the last of them, null when there is none. */
  frozenLayers: number;
  frozenUpTo: string | null;
  precision: Precision;
  views: ComputationReport['views'];
  /** Why another stage followed or none did, where the strategy decided it. */
  decision?: string;
}

export interface StageSettings extends Omit<ComputationSettings, 'stage'> {
  /** Number of the first epoch. */
  firstEpoch: number;
  /** Epochs of the whole run, at most. */
  epochs: number;
  forgetting?: Forgetting | undefined;
}

/** Makes what a stage lets learn learn; with a new optimizer unless it goes on with the one there is. */
export async function configureStage(
  {
    model,
    data,
    options,
    reading,
    forgetting,
  }: Pick<StageSettings, 'model' | 'data' | 'options' | 'reading' | 'forgetting'>,
  stage: Stage,
  keepsOptimizer: boolean,
): Promise<void> {
  const guard = keepsOptimizer ? undefined : await forgetting?.enter(stage);
  await model.setTrainable(stage.trainable, { trainBatchNorm: options.trainBatchNorm });
  if (keepsOptimizer) return;
  await model.configure({
    optimizer: stage.optimizer,
    groups: stage.groups,
    loss: options.loss,
    ...nativeGroups(options.groups, data),
    clipNorm: stage.clipNorm,
    accumulate: stage.accumulate,
    auxiliaryWeight: 0.4,
    seed: options.seed,
    preprocess: nativePreprocess(reading.preprocessing),
    augment: options.augment,
    ...guard,
  });
}

/** A stage under way: what it computes with, and at which rates. */
export class StageRun {
  readonly stage: Stage;
  readonly computation: Computation;
  readonly report: StageReport;
  readonly #settings: StageSettings;

  private constructor(settings: StageSettings, stage: Stage, computation: Computation) {
    this.#settings = settings;
    this.stage = stage;
    this.computation = computation;
    this.report = makeReport(settings.model, stage, computation, settings.firstEpoch);
  }

  /** Plans a stage that is configured. */
  static async begin(settings: StageSettings, stage: Stage): Promise<StageRun> {
    return new StageRun(settings, stage, await Computation.begin({ ...settings, stage }));
  }

  /** Learning rate of each group for a batch of an epoch. */
  learningRates(epoch: number, batch: number, history: readonly EpochReport<Task>[]): number[] {
    const { schedule, scheduleSpan, accumulate, epochs } = this.stage;
    const { options, data, firstEpoch } = this.#settings;
    const stepsPerEpoch = Math.ceil(Math.ceil(data.splits.train.length / options.batchSize) / accumulate);
    const span =
      scheduleSpan === 'run' ? { first: 1, epochs: this.#settings.epochs } : { first: firstEpoch, epochs };
    const factor = learningRateFactor(schedule, {
      step: (epoch - span.first) * stepsPerEpoch + Math.floor(batch / accumulate),
      totalSteps: span.epochs * stepsPerEpoch,
      stepsPerEpoch,
      ...(schedule.kind === 'plateau'
        ? {
            history: history
              .slice(span.first - 1)
              .map(({ metrics }) => metrics[schedule.metric] ?? Number.NaN),
          }
        : {}),
    });
    return this.stage.groups.map(({ learningRate }) => learningRate * factor);
  }

  /** Of what learns. */
  largestRate(epoch: number, batch: number, history: readonly EpochReport<Task>[]): number {
    return Math.max(...ofLearning(this.stage, this.learningRates(epoch, Math.max(0, batch), history)));
  }
}

function makeReport(
  model: Model,
  stage: Stage,
  { report: { plan, views } }: Computation,
  firstEpoch: number,
): StageReport {
  const rates = ofLearning(
    stage,
    stage.groups.map(({ learningRate }) => learningRate),
  );
  return {
    name: stage.name,
    firstEpoch,
    epochs: 0,
    optimizer: stage.optimizer.kind,
    learningRates: { lowest: Math.min(...rates), highest: Math.max(...rates) },
    learning: model.trainable.length,
    frozenLayers: plan.prefixLayers.length,
    frozenUpTo: plan.prefixLayers.at(-1) ?? null,
    precision: plan.precision,
    views,
  };
}

/** Of values by group, those of groups in which something learns. */
function ofLearning({ trainable, groups }: Stage, values: readonly number[]): number[] {
  const learns = new Set(trainable);
  return values.filter((_, index) => groups[index]?.parameters.some((name) => learns.has(name)));
}
