import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { adapt } from '../adapt.js';
import type { ImageDataset } from '../data/dataset.js';
import { loadModel, type Model } from '../model.js';
import { Progress } from '../report/progress.js';
import { readData } from './arguments.js';
import { batchDisplay } from './batch-display.js';
import { progressStream } from './output.js';
import { onceEach, skippedLines } from './reading-flags.js';
import type { TrainRequest } from './run.js';

/**
 * The model that `train` goes on with: the one given, or with `--adapt` a copy that was fine-tuned on related data first
 * and is kept as adapted.pt. Where that did harm, the one given. What is returned is the caller's to dispose.
 */
export async function openModel(
  request: TrainRequest,
  data: ImageDataset,
  tell: { say: (text: string) => void; emit: (event: Record<string, unknown>) => void; signal: AbortSignal },
): Promise<Model> {
  const { options, device, out } = request;
  const loading = { device, ...(options.threads ? { threads: options.threads } : {}) };
  const kept = join(out, 'adapted.pt');
  if (request.adapt && options.resume && existsSync(kept)) return loadModel(kept, loading);
  const model = await loadModel(request.model, loading);
  if (!request.adapt) return model;
  try {
    const related = await readData(request.adapt.data, options.seed ?? 0, undefined, options);
    const { strategy, checkpoint, resume, learningRates, freeze, earlyStopping, licences, ...rest } = options;
    const progress = new Progress({ stream: progressStream });
    tell.say(
      `adapt  on ${request.adapt.data} first: ${related.classes.length} classes, ${related.splits.train.length} train`,
    );
    const {
      model: adapted,
      check,
      result,
    } = await adapt(model, related, {
      target: data,
      fineTune: {
        ...rest,
        epochs: request.adapt.epochs,
        signal: tell.signal,
        onBatch: batchDisplay(progress),
      },
    }).finally(() => progress.finish());
    const { accuracy } = result.best.validation;
    tell.say(`adapt  val accuracy there ${(accuracy * 100).toFixed(2)} %`);
    const skipped = onceEach([result.baseline, ...result.history].flatMap((report) => report.skipped));
    for (const line of skippedLines(skipped)) tell.say(line);
    if (check) tell.say(`note   ${check.text}`);
    const isUsed = check?.verdict !== 'harm';
    tell.emit({
      event: 'adapted',
      data: request.adapt.data,
      valAccuracy: accuracy,
      isUsed,
      skipped,
      ...(check ? { check } : {}),
    });
    if (!isUsed) {
      tell.say('note   Training goes on from the model as it was given.');
      await adapted.dispose();
      return model;
    }
    await mkdir(out, { recursive: true });
    await adapted.save(kept);
    await model.dispose();
    return adapted;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}
