import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { writeAtomically } from '../atomic-file.js';
import type { ImageDataset } from '../data/dataset.js';
import type { FineTuneResult } from '../fine-tune/result.js';
import type { Model } from '../model.js';
import { versions } from '../versions.js';
import type { TrainRequest } from './run.js';

/** run.json: every option, the environment, all epochs, timings and peak memory. */
export async function writeRunFile(
  path: string,
  request: TrainRequest,
  data: ImageDataset,
  model: Model,
  result: FineTuneResult,
  totals: { totalSeconds: number; peakRssMb: number },
): Promise<void> {
  const { options, isJson, ...asked } = request;
  const content = {
    request: { ...asked, ...options },
    options: model.card?.provenance.options,
    source: model.origin,
    device: model.device,
    notices: model.notices,
    data: { ...data.summary, warnings: data.warnings },
    preprocessing: result.preprocessing,
    environment: {
      ...versions(),
      platform: `${process.platform}-${process.arch}`,
      processor: cpus()[0]?.model ?? 'unknown',
      processors: availableParallelism(),
    },
    trainable: model.trainable,
    stages: result.stages,
    decisions: result.decisions,
    plan: result.computation.plan,
    precision: result.computation.plan.precision,
    views: result.computation.views,
    features: result.computation.features,
    computationNotices: result.computation.notices,
    ended: result.ended,
    bestEpoch: result.best.epoch,
    baseline: result.baseline,
    epochs: result.history,
    ...totals,
  };
  await writeAtomically(path, (temporary) => writeFile(temporary, `${JSON.stringify(content, null, 2)}\n`));
}
