import type { ImageDataset } from '../data/dataset.js';
import type { Task } from '../data/task.js';
import { invalidType } from '../errors.js';
import type { Model } from '../model.js';
import { FineTuning } from './fine-tuning.js';
import { checkFineTuneOptions, type FineTuneOptions } from './options.js';

/**
 * Fine-tunes a model on a folder of images. Await it, and it trains to the end and gives the result; or iterate over it:
 * each epoch is a report, and leaving the loop stops training. Nothing is trained before.
 * However it ends, the model has the weights of the best epoch (the model before the first step included), is put into
 * eval mode, and carries classes, preprocessing and provenance, ready for `save`. What a report has as `validation` goes by
 * the data's task: of `imageFolder` and `imageManifest` with `task` TypeScript knows which.
 *
 * @example
 * const run = fineTune(model, await imageFolder('flowers'), { epochs: 5 });
 * for await (const epoch of run) console.log(epoch.epoch, epoch.validation.accuracy);
 * await model.save('flowers.pt');
 *
 * const { best } = await fineTune(model, await imageFolder('flowers'), { epochs: 5 });
 *
 * @throws INVALID_TYPE, INVALID_VALUE (options), NO_HEAD, MODEL_FROZEN, LOSS_NOT_FINITE, IMAGE_UNREADABLE, ABORTED,
 * CHECKPOINT_INVALID, FILE_UNWRITABLE (the checkpoint), BUSY, DISPOSED
 */
export function fineTune<T extends Task = 'single-label'>(
  model: Model,
  data: ImageDataset<T>,
  options: FineTuneOptions = {},
): FineTuning<T> {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('fineTune: expected a Model from loadModel.');
  if (!data?.splits?.train) throw invalidType('fineTune: expected data from imageFolder or imageManifest.');
  return new FineTuning(model, data, checkFineTuneOptions(options, data.task));
}
