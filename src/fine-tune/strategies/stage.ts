import type { Task } from '../../data/task.js';
import type { Model } from '../../model.js';
import type { ModelDescription, NativeGroup, NativeOptimizer } from '../../native.js';
import type { Schedule } from '../../schedule.js';
import { buildGroups } from '../groups.js';
import type { CheckedOptions } from '../options.js';
import type { EpochReport } from '../report.js';
import { depths } from './layers.js';
import { chooseTrainable, type Part } from './learnable.js';

/** A part of a run in which the same parameters learn, by one optimizer. Every strategy is a list of them. */
export interface Stage {
  /** As reports name it, for example `head`, `probe`, `unfreeze 2 of 4`. */
  name: string;
  /** Names of the parameters that learn. */
  trainable: string[];
  /** Decides how many views of an image are worth keeping: of all that learns, no frozen part is worth any. */
  extent: 'head' | 'some' | 'all';
  optimizer: NativeOptimizer;
  /** Static: what does not learn has its rate too. */
  groups: NativeGroup[];
  schedule: Schedule;
  /** Of the whole run, or of this stage. */
  scheduleSpan: 'run' | 'stage';
  /** 0 for none. */
  clipNorm: number;
  accumulate: number;
  /** Fixed views of a training image; undefined for what suits the extent. */
  views: number | 'live' | undefined;
  /** At most. */
  epochs: number;
  /** Whether it is over before that, by its reports. */
  isOver?: (reports: readonly EpochReport<Task>[]) => boolean;
  /** Goes on with the weights and the optimizer of the stage before; else it begins from the best weights, with a new one. */
  continues: boolean;
  /** What is done instead where the outputs of what is frozen cannot be kept. */
  otherwise?: Stage;
}

/** What a strategy is made for. The model has its head. */
export interface StrategyContext {
  model: Model;
  summary: ModelDescription;
  /** Names of the head's parameters. */
  head: string[];
  options: CheckedOptions;
  /** What is asked about an image; default one class. */
  task?: Task;
  /** Training images. */
  images: number;
  /** C of logistic regression on their features, by cross-validation; undefined where there are none. */
  probeC?: number | undefined;
}

/** What a strategy came to for one model and one set of options. */
export interface Strategy {
  stages: [Stage, ...Stage[]];
  /** At most, of all stages together. */
  epochs: number;
  /** Whether the stage behind that of `index` follows, and why, in plain words. Left out: it does. */
  decide?: (index: number, evidence: Evidence) => Decision;
  /** What a person should know before it begins. */
  notices: string[];
}

/** What the model said of the validation images. Plain JSON. */
export interface Predictions {
  /** True classes [n]. */
  labels: number[];
  /** Predicted classes [n]. */
  predicted: number[];
  /** Cross entropy of each [n], whatever the training's loss. */
  losses: number[];
}

/** The best weights' predictions: when a stage began, and when it ended. */
export interface Evidence {
  before: Predictions | null;
  best: Predictions | null;
}

export interface Decision {
  goesOn: boolean;
  why: string;
}

/** What differs between the stages of strategies; the rest is the caller's options. */
export type StageChoices = Pick<Stage, 'name'> &
  Partial<Omit<Stage, 'groups'>> & {
    part: Part;
    /** Default rates where the caller gave no `learningRate`. */
    rates?: { head: number; body: number } | undefined;
    /** Factor from each layer to the one below. Default 1. */
    layerDecay?: number;
    weightDecay?: number;
  };

/** A stage of these choices and the caller's options. @throws NOT_TRAINABLE, PATTERN_UNMATCHED, INVALID_VALUE */
export function makeStage(context: StrategyContext, choices: StageChoices): Stage {
  const { model, summary, head, options } = context;
  const { part, rates, layerDecay = 1, weightDecay = options.weightDecay, ...chosen } = choices;
  const optimizer = chosen.optimizer ?? options.optimizer;
  const depthOf = layerDecay === 1 ? () => 0 : depths(summary, head);
  return {
    trainable: chooseTrainable(model, summary, head, part, options.freeze),
    extent: part === 'head' ? 'head' : part.startsWith('last:') ? 'some' : 'all',
    schedule: options.schedule,
    scheduleSpan: 'stage',
    clipNorm: options.clipNorm ?? 0,
    accumulate: options.accumulate,
    views: options.views,
    epochs: options.epochs,
    continues: false,
    ...chosen,
    optimizer,
    groups: buildGroups(
      summary,
      head,
      { ...options, optimizer, weightDecay },
      {
        ...(rates ? { rates } : {}),
        factorOf: (name) => layerDecay ** depthOf(name),
      },
    ),
  };
}
