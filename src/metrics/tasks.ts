import { concatenate } from '../concatenate.js';
import type { Task } from '../data/task.js';
import type { ClassificationMetrics } from './classification.js';
import { type MultiLabelMetrics, multiLabelMetrics } from './multi-label.js';
import {
  metricNames,
  type NamedMetrics,
  nameMetrics,
  nameMultiLabelMetrics,
  nameRegressionMetrics,
} from './names.js';
import { type RegressionMetrics, regressionMetrics } from './regression.js';

/** Of a multi-label set; a label counts as predicted from a probability of 0.5 on. */
export interface MultiLabelValidation extends MultiLabelMetrics {
  task: 'multi-label';
  /** Mean loss. */
  loss: number;
}

/** Of a regression: means over the targets, and each target's own. */
export interface RegressionValidation extends RegressionMetrics {
  task: 'regression';
  /** Mean loss. */
  loss: number;
  perTarget: (RegressionMetrics & { target: string })[];
}

/** What validation finds, by the data's task. */
export interface ValidationByTask {
  'single-label': ClassificationMetrics;
  'multi-label': MultiLabelValidation;
  regression: RegressionValidation;
}

/** What validation found of data of a task; where that is not known, any of the three. */
export type Validation<T extends Task = Task> = ValidationByTask[T];

/** Whether the figures are of a multi-label set. */
export function isMultiLabel(validation: Validation): validation is MultiLabelValidation {
  return 'task' in validation && validation.task === 'multi-label';
}

/** Whether the figures are of a regression. */
export function isRegression(validation: Validation): validation is RegressionValidation {
  return 'task' in validation && validation.task === 'regression';
}

/** Whether the figures are of images with one class each. */
export function isClassified(validation: Validation): validation is ClassificationMetrics {
  return !isMultiLabel(validation) && !isRegression(validation);
}

/** Figures by the names of epoch reports, whatever the task; a regression's also by target, as `valMae:<target>`. */
export function nameValidation(prefix: string, validation: Validation): NamedMetrics {
  const loss = { [`${prefix}Loss`]: validation.loss };
  if (isMultiLabel(validation)) return { ...loss, ...nameMultiLabelMetrics(prefix, validation) };
  if (!isRegression(validation)) return nameMetrics(prefix, validation);
  const each = validation.perTarget.map(({ target, ...own }) =>
    Object.fromEntries(
      Object.entries(nameRegressionMetrics(prefix, own)).map(([name, value]) => [`${name}:${target}`, value]),
    ),
  );
  return Object.assign(loss, nameRegressionMetrics(prefix, validation), ...each);
}

/** All names that `nameValidation` gives for these classes. */
export function validationNames(prefix: string, classes: readonly string[], task: Task): string[] {
  if (task === 'single-label') return metricNames(prefix, classes);
  const none = new Float32Array(classes.length);
  return Object.keys(nameValidation(prefix, targetMetrics(task, none, none, 0, classes)));
}

/**
 * Metrics of outputs beside their targets, both row-major [n, classes].
 *
 * @throws INVALID_VALUE for no samples, MODEL_FAILED for outputs that are not finite
 */
export function targetMetrics(
  task: Exclude<Task, 'single-label'>,
  outputs: Float32Array,
  targets: Float32Array,
  loss: number,
  classes: readonly string[],
): MultiLabelValidation | RegressionValidation {
  if (task === 'multi-label')
    return { task, loss, ...multiLabelMetrics(outputs, Uint8Array.from(targets), { labels: classes }) };
  const column = (values: Float32Array, at: number) => values.filter((_, i) => i % classes.length === at);
  const perTarget = classes.map((target, at) => ({
    target,
    ...regressionMetrics(column(outputs, at), column(targets, at)),
  }));
  return { task, loss, ...averages(perTarget), perTarget };
}

/** Means over the targets; null where one is undefined. */
function averages(perTarget: readonly RegressionMetrics[]): RegressionMetrics {
  const mean = (of: (metrics: RegressionMetrics) => number | null) => {
    const values = perTarget.map(of);
    if (values.includes(null)) return null;
    return (values as number[]).reduce((sum, value) => sum + value, 0) / values.length;
  };
  return {
    count: perTarget[0]?.count ?? 0,
    mae: mean(({ mae }) => mae) as number,
    rmse: mean(({ rmse }) => rmse) as number,
    medianAbsoluteError: mean(({ medianAbsoluteError }) => medianAbsoluteError) as number,
    r2: mean(({ r2 }) => r2),
    pearson: mean(({ pearson }) => pearson),
    spearman: mean(({ spearman }) => spearman),
  };
}

/** Mean over all elements: binary cross entropy of the logits, or the squared error. */
export function plainLoss(
  task: Exclude<Task, 'single-label'>,
  outputs: Float32Array,
  targets: Float32Array,
): number {
  const of =
    task === 'regression'
      ? (output: number, target: number) => (output - target) ** 2
      : (output: number, target: number) =>
          Math.max(output, 0) - output * target + Math.log1p(Math.exp(-Math.abs(output)));
  return outputs.reduce((sum, output, i) => sum + of(output, targets[i] as number), 0) / outputs.length;
}

/** Collects outputs and targets of a pass, batch by batch. */
export class TargetMeter {
  readonly #task: Exclude<Task, 'single-label'>;
  readonly #classes: readonly string[];
  readonly #outputs: Float32Array[] = [];
  readonly #targets: Float32Array[] = [];
  #lossSum = 0;
  #count = 0;

  constructor(task: Exclude<Task, 'single-label'>, classes: readonly string[]) {
    this.#task = task;
    this.#classes = classes;
  }

  /** @param loss mean over the batch; undefined: the plain loss of the task */
  add(outputs: Float32Array, targets: Float32Array, loss: number | undefined): void {
    this.#outputs.push(outputs.slice());
    this.#targets.push(targets.slice());
    const count = targets.length / this.#classes.length;
    this.#lossSum += (loss ?? plainLoss(this.#task, outputs, targets)) * count;
    this.#count += count;
  }

  metrics(): MultiLabelValidation | RegressionValidation {
    const loss = this.#lossSum / this.#count;
    return targetMetrics(
      this.#task,
      concatenate(this.#outputs),
      concatenate(this.#targets),
      loss,
      this.#classes,
    );
  }
}
