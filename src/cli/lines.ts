import type { ImageDataset } from '../data/dataset.js';
import type { Task } from '../data/task.js';
import { taskOf } from '../data/task.js';
import type { Baselines } from '../fine-tune/baselines.js';
import type { EpochReport } from '../fine-tune/report.js';
import type { FineTuneResult } from '../fine-tune/result.js';
import type { StageReport } from '../fine-tune/stage-run.js';
import type { RetentionReport } from '../forgetting/retention.js';
import { isClassified, type Validation } from '../metrics/tasks.js';
import type { Model } from '../model.js';
import { baselinesTable, beatenByProbe } from '../report/baselines-table.js';
import { confusionTable, perClassTable } from '../report/metrics-tables.js';
import { formatTime } from '../report/progress.js';
import { figuresText, namedFigures, taskFigures, taskTable } from '../report/task-tables.js';
import { visible } from '../report/visible.js';
import type { RunRecord } from '../run-record.js';
import type { TrainRequest } from './run.js';

/** What is said before training begins. */
export function startLines(model: Model, data: ImageDataset, request: TrainRequest): string[] {
  const { train, val, test } = data.splits;
  return [
    `model  ${request.model}, on ${model.device}`,
    `data   ${request.data}: ${outputsOf(data)}, ${train.length} train, ${val.length} val` +
      `${test ? `, ${test.length} test` : ''}`,
    ...[...model.notices, ...data.warnings].map((text) => `note   ${text}`),
  ].map(visible);
}

/** What the model is to give, for people. */
export function outputsOf({ task, classes }: Pick<ImageDataset, 'task' | 'classes'>): string {
  const what = {
    'multi-label': 'labels (multi-label)',
    regression: 'targets (regression)',
    'single-label': 'classes',
  };
  return `${classes.length} ${what[taskOf({ task })]}`;
}

/** A stage as a line for people. */
export function stageLine({ name, learning, learningRates, optimizer }: StageReport): string {
  const { lowest, highest } = learningRates;
  const rates =
    lowest === highest ? highest.toPrecision(2) : `${lowest.toPrecision(2)} to ${highest.toPrecision(2)}`;
  return `stage  ${name}: ${learning} parameters learn, ${optimizer}, learning rate ${rates}`;
}

/** One epoch as a line for people. */
export function epochLine(report: EpochReport<Task>): string {
  const { epoch, trainLoss, trainAccuracy, validation, isBest, imagesPerSecond, seconds } = report;
  const train =
    trainLoss === null
      ? 'before training     '
      : `train loss ${trainLoss.toFixed(4)}${trainAccuracy === null ? '' : ` accuracy ${percent(trainAccuracy)}`}`;
  const speed = imagesPerSecond > 0 ? `  ${imagesPerSecond.toFixed(1)} images/s  ${formatTime(seconds)}` : '';
  return (
    `epoch ${String(epoch).padStart(2)}  ${train}  val loss ${validation.loss.toFixed(4)} ` +
    `${scoresLine(validation, ' ')}${speed}${isBest ? '  best' : ''}`
  );
}

/** The scores that are told first. */
function scoresLine(validation: Validation, between: string): string {
  if (!isClassified(validation)) return figuresText(taskFigures(validation));
  return `accuracy ${percent(validation.accuracy)}${between}macro F1 ${validation.macro.f1.toFixed(4)}`;
}

/** The same by name, for JSON. */
export function scoresByName(prefix: string, validation: Validation): Record<string, number | null> {
  if (!isClassified(validation)) return namedFigures(prefix, taskFigures(validation));
  return { [`${prefix}Accuracy`]: validation.accuracy, [`${prefix}MacroF1`]: validation.macro.f1 };
}

/** One epoch as a JSON event. */
export function epochEvent(report: EpochReport<Task>): Record<string, unknown> {
  const {
    epoch,
    stage,
    trainLoss,
    trainAccuracy,
    validation,
    imagesPerSecond,
    seconds,
    waitShare,
    learningRate,
    isBest,
  } = report;
  return {
    event: 'epoch',
    epoch,
    stage,
    trainLoss,
    trainAccuracy,
    valLoss: validation.loss,
    ...scoresByName('val', validation),
    learningRate,
    isBest,
    imagesPerSecond,
    seconds,
    waitShare,
    skipped: report.skipped,
  };
}

/** What is said when training has ended. */
export function summary(
  result: FineTuneResult<Task>,
  classes: string[],
  file: string,
  {
    totalSeconds,
    peakRssMb,
    scratch,
  }: { totalSeconds: number; peakRssMb: number; scratch?: RunRecord['scratch'] },
): string[] {
  const { best, ended, retention, baselines } = result;
  const { validation } = best;
  const { features } = result.computation;
  const why = ended === 'early' ? ' (stopped early)' : '';
  return [
    '',
    `best   epoch ${best.epoch}${why}: val ${scoresLine(validation, ', ')}`,
    ...(baselines && isClassified(validation) ? standing(baselines, { validation }, scratch) : []),
    '',
    ...(isClassified(validation)
      ? [perClassTable(validation), ...(classes.length <= 20 ? ['', confusionTable(validation)] : [])]
      : [taskTable(validation)]),
    '',
    ...(features ? [`kept   features: ${features.computed} computed, ${features.found} found`] : []),
    ...(retention ? [retentionLine(retention)] : []),
    `saved  ${file}  (${formatTime(totalSeconds)}, peak memory ${peakRssMb.toFixed(0)} MB)`,
  ];
}

/** What the time went to, without what took less than a hundredth of it. */
export function secondsLine(seconds: Record<string, number>): string {
  const all = Object.values(seconds).reduce((sum, value) => sum + value, 0);
  const told = Object.entries(seconds).filter(([, value]) => value >= all / 100);
  return `time   ${told.map(([name, value]) => `${name} ${value.toFixed(1)} s`).join(', ')}`;
}

/** Beside what comes without fine-tuning. */
function standing(
  baselines: Baselines,
  best: Pick<EpochReport, 'validation'>,
  scratch: RunRecord['scratch'],
): string[] {
  const beaten = beatenByProbe(baselines, best);
  return ['', baselinesTable(baselines, best, scratch), ...(beaten ? [`note   ${beaten}`] : [])];
}

function retentionLine({ images, before, after }: RetentionReport): string {
  return (
    `retain ${images} images of the source task: the pretrained head is right on ${percent(before.agreement)} of them ` +
    `before, ${percent(after.agreement)} after; divergence ${after.divergence.toFixed(4)} nats`
  );
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}
