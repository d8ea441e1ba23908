import { z } from 'zod';
import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import { checkOptions } from '../options.js';
import { isFloat32Array, isUint8Array } from '../value-kinds.js';
import { mean, meanOfDefined, type Scores, score } from './classification.js';
import { areasUnder } from './curves.js';

const threshold = z.number().min(0).max(1);

const optionsSchema = z.strictObject({
  labels: z.array(z.string()).min(1),
  threshold: z.union([threshold, z.array(threshold)]).default(0.5),
});

export interface MultiLabelOptions {
  /** Names of the labels, in the order of the logits; at least one. */
  labels: readonly string[];
  /**
   * Probability from which on a label counts as predicted, 0 to 1: one for all, or one for each label, as `tuneThreshold`
   * finds it. Default 0.5.
   */
  threshold?: number | readonly number[];
}

export interface LabelScores extends Scores {
  label: string;
  /** Samples that have this label. */
  support: number;
  /** Area under the ROC curve; null where all samples or none have the label. */
  rocAuc: number | null;
  /** Average precision; null where no sample has the label. */
  prAuc: number | null;
}

/**
 * What a model with several labels a sample got right, by scikit-learn's definitions with `zero_division=0`. What is
 * undefined is null.
 */
export interface MultiLabelMetrics {
  /** Samples. */
  count: number;
  /** Share of the samples of which every label is right; `accuracy_score`. */
  subsetAccuracy: number;
  /** Share of the labels of all samples that are wrong; `hamming_loss`. */
  hammingLoss: number;
  /** Over all labels of all samples together. */
  micro: Scores;
  /** Mean over the labels. */
  macro: Scores;
  /** Mean over the samples; a sample with no label, true or predicted, scores 0. */
  samples: Scores;
  /** Mean of the labels' average precisions (mAP), without the labels that no sample has. */
  meanAveragePrecision: number | null;
  /** Mean of the labels' areas under the ROC curve, without the labels that all samples or none have. */
  rocAuc: number | null;
  perLabel: LabelScores[];
}

/** Right, predicted and true labels, of a label or of a sample. */
interface Counts {
  hits: number;
  predicted: number;
  support: number;
}

/**
 * The metrics of a set of predictions of several labels a sample. Probabilities are the sigmoid of the logits, in double
 * precision, kept as float32.
 *
 * @param logits [n, labels], row-major, finite
 * @param targets [n, labels], 1 where the sample has the label, else 0
 * @throws INVALID_TYPE, INVALID_VALUE (options; targets other than 0 and 1; no samples), SHAPE_MISMATCH, MODEL_FAILED for
 * logits that are NaN or infinite
 *
 * @example
 * const { micro } = multiLabelMetrics(Float32Array.of(2, -1), Uint8Array.of(1, 1), { labels: ['rust', 'dent'] });
 * micro.recall; // 0.5
 */
export function multiLabelMetrics(
  logits: Float32Array,
  targets: Uint8Array,
  options: MultiLabelOptions,
): MultiLabelMetrics {
  const checked = checkOptions(optionsSchema, options, 'multiLabelMetrics');
  const { labels } = checked;
  const thresholds = spread(checked.threshold, labels.length);
  check(logits, targets, labels);
  const probabilities = logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const predicted = Uint8Array.from(probabilities, (value, i) =>
    Number(value >= (thresholds[i % labels.length] as number)),
  );
  const samples = countBy(targets, predicted, targets.length / labels.length, (i) =>
    Math.floor(i / labels.length),
  );
  const byLabel = countBy(targets, predicted, labels.length, (i) => i % labels.length);
  const perLabel = labels.map((label, index) => {
    const column = <T extends Float32Array | Uint8Array>(values: T) =>
      values.filter((_, i) => i % labels.length === index) as T;
    const counts = byLabel[index] as Counts;
    return {
      label,
      ...scoreOf(counts),
      support: counts.support,
      ...areasUnder(column(probabilities), column(targets)),
    };
  });
  const wrong = ({ hits, predicted: taken, support }: Counts) => taken + support - 2 * hits;
  return {
    count: samples.length,
    subsetAccuracy: samples.filter((counts) => wrong(counts) === 0).length / samples.length,
    hammingLoss: samples.reduce((sum, counts) => sum + wrong(counts), 0) / targets.length,
    micro: scoreOf(total(byLabel)),
    macro: averageScores(perLabel),
    samples: averageScores(samples.map(scoreOf)),
    meanAveragePrecision: meanOfDefined(perLabel.map(({ prAuc }) => prAuc)),
    rocAuc: meanOfDefined(perLabel.map(({ rocAuc }) => rocAuc)),
    perLabel,
  };
}

function countBy(
  targets: Uint8Array,
  predicted: Uint8Array,
  groups: number,
  groupOf: (i: number) => number,
): Counts[] {
  const counts = Array.from({ length: groups }, () => ({ hits: 0, predicted: 0, support: 0 }));
  for (let i = 0; i < targets.length; i++) {
    const group = counts[groupOf(i)] as Counts;
    const truth = targets[i] as number;
    const guess = predicted[i] as number;
    group.hits += truth & guess;
    group.predicted += guess;
    group.support += truth;
  }
  return counts;
}

function total(counts: readonly Counts[]): Counts {
  const sum = (name: keyof Counts) => counts.reduce((all, entry) => all + entry[name], 0);
  return { hits: sum('hits'), predicted: sum('predicted'), support: sum('support') };
}

function scoreOf({ hits, predicted, support }: Counts): Scores {
  return score(hits, predicted, support);
}

function averageScores(scores: readonly Scores[]): Scores {
  return {
    precision: mean(scores.map(({ precision }) => precision)),
    recall: mean(scores.map(({ recall }) => recall)),
    f1: mean(scores.map(({ f1 }) => f1)),
  };
}

function spread(value: number | number[], count: number): number[] {
  if (typeof value === 'number') return Array<number>(count).fill(value);
  if (value.length === count) return value;
  throw invalidValue(
    `multiLabelMetrics: \`threshold\` has ${value.length} values for ${count} labels. Give one number, or one for each.`,
  );
}

function check(logits: Float32Array, targets: Uint8Array, labels: readonly string[]): void {
  if (!isFloat32Array(logits)) throw invalidType('multiLabelMetrics: `logits` must be a Float32Array.');
  if (!isUint8Array(targets)) throw invalidType('multiLabelMetrics: `targets` must be a Uint8Array.');
  const size = labels.length;
  if (logits.length !== targets.length || logits.length % size !== 0) {
    throw new TorchgraftError(
      'SHAPE_MISMATCH',
      `multiLabelMetrics: \`logits\` and \`targets\` must both be [n, ${size}], one value for each sample and label; ` +
        `got ${logits.length} and ${targets.length} values.`,
    );
  }
  if (logits.length === 0) throw invalidValue('multiLabelMetrics: there are no samples.');
  const target = targets.findIndex((value) => value > 1);
  if (target >= 0) {
    throw invalidValue(
      `multiLabelMetrics: the target of sample ${Math.floor(target / size)} for \`${labels[target % size]}\` is ` +
        `${targets[target]}; expected 0 or 1.`,
    );
  }
  const logit = logits.findIndex((value) => !Number.isFinite(value));
  if (logit >= 0) {
    throw new TorchgraftError(
      'MODEL_FAILED',
      `multiLabelMetrics: the model's logit of sample ${Math.floor(logit / size)} for \`${labels[logit % size]}\` is ` +
        `${logits[logit]}; expected finite numbers. Its weights may have diverged: try a lower learning rate.`,
    );
  }
}
