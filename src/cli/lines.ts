import type { ImageDataset } from '../data/dataset.js';
import type { EpochReport } from '../fine-tune/report.js';
import type { FineTuneResult } from '../fine-tune/result.js';
import type { StageReport } from '../fine-tune/stage-run.js';
import type { RetentionReport } from '../forgetting/retention.js';
import type { Model } from '../model.js';
import { baselinesTable } from '../report/baselines-table.js';
import { confusionTable, perClassTable } from '../report/metrics-tables.js';
import { formatTime } from '../report/progress.js';
import type { TrainRequest } from './run.js';

/** What is said before training begins. */
export function startLines(model: Model, data: ImageDataset, request: TrainRequest): string[] {
  const { train, val, test } = data.splits;
  return [
    `model  ${request.model}, on ${model.device}`,
    `data   ${request.data}: ${data.classes.length} classes, ${train.length} train, ${val.length} val` +
      `${test ? `, ${test.length} test` : ''}`,
    ...[...model.notices, ...data.warnings].map((text) => `note   ${text}`),
  ];
}

/** A stage as a line for people. */
export function stageLine({ name, learning, learningRates, optimizer }: StageReport): string {
  const { lowest, highest } = learningRates;
  const rates =
    lowest === highest ? highest.toPrecision(2) : `${lowest.toPrecision(2)} to ${highest.toPrecision(2)}`;
  return `stage  ${name}: ${learning} parameters learn, ${optimizer}, learning rate ${rates}`;
}

/** One epoch as a line for people. */
export function epochLine(report: EpochReport): string {
  const { epoch, trainLoss, trainAccuracy, validation, isBest, imagesPerSecond, seconds } = report;
  const train =
    trainLoss === null
      ? 'before training     '
      : `train loss ${trainLoss.toFixed(4)} accuracy ${percent(trainAccuracy as number)}`;
  const speed = imagesPerSecond > 0 ? `  ${imagesPerSecond.toFixed(1)} images/s  ${formatTime(seconds)}` : '';
  return (
    `epoch ${String(epoch).padStart(2)}  ${train}  val loss ${validation.loss.toFixed(4)} ` +
    `accuracy ${percent(validation.accuracy)} macro F1 ${validation.macro.f1.toFixed(4)}${speed}${isBest ? '  best' : ''}`
  );
}

/** One epoch as a JSON event. */
export function epochEvent(report: EpochReport): Record<string, unknown> {
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
    valAccuracy: validation.accuracy,
    valMacroF1: validation.macro.f1,
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
  result: FineTuneResult,
  classes: string[],
  file: string,
  totals: { totalSeconds: number; peakRssMb: number },
): string[] {
  const { best, ended, retention } = result;
  const { features } = result.computation;
  const why = ended === 'early' ? ' (stopped early)' : '';
  return [
    '',
    `best   epoch ${best.epoch}${why}: val accuracy ${percent(best.validation.accuracy)}, macro F1 ` +
      `${best.validation.macro.f1.toFixed(4)}`,
    ...(result.baselines ? ['', baselinesTable(result.baselines, best)] : []),
    '',
    perClassTable(best.validation),
    ...(classes.length <= 20 ? ['', confusionTable(best.validation)] : []),
    '',
    ...(features ? [`kept   features: ${features.computed} computed, ${features.found} found`] : []),
    ...(retention ? [retentionLine(retention)] : []),
    `saved  ${file}  (${formatTime(totals.totalSeconds)}, peak memory ${totals.peakRssMb.toFixed(0)} MB)`,
  ];
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
