import type { ModelCard } from '../card.js';
import type { ImageDataset } from '../data/dataset.js';
import type { Task } from '../data/task.js';
import { isClassified } from '../metrics/tasks.js';
import type { Model } from '../model.js';
import { versions } from '../versions.js';
import type { CheckedOptions } from './options.js';
import type { FineTuneResult } from './result.js';

/** What a fine-tuned model carries for `save`. */
export function makeCard(
  { model, data, options: { licences } }: { model: Model; data: ImageDataset; options: CheckedOptions },
  recipe: Record<string, unknown>,
  { best, baseline, history, preprocessing, stages, decisions, retention }: FineTuneResult<Task>,
): ModelCard {
  return {
    format: 1,
    ...(data.task ? { task: data.task } : {}),
    classes: [...data.classes],
    preprocessing,
    provenance: {
      source: model.origin,
      // A model that was adapted before keeps its history.
      ...(model.card ? { before: model.card.provenance } : {}),
      data: data.summary,
      ...(licences ? { licences } : {}),
      options: recipe,
      stages,
      decisions,
      versions: versions(),
      date: new Date().toISOString(),
    },
    metrics: {
      bestEpoch: best.epoch,
      epochs: history.length,
      validation: best.validation,
      baseline: {
        loss: baseline.validation.loss,
        ...(isClassified(baseline.validation) ? { accuracy: baseline.validation.accuracy } : {}),
      },
      ...(retention ? { retention } : {}),
    },
  };
}
