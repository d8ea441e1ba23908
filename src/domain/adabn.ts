import type { ImageDataset } from '../data/dataset.js';
import { BatchLoader } from '../data/loader.js';
import { nativePreprocess } from '../data/preprocessing.js';
import { TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';
import { copyModel } from '../model-copy.js';
import { callNative } from '../native-call.js';
import { type ExtractOptions, extractFeatures, type Features } from '../probe/features.js';
import type { LinearMap } from '../probe/linear-file.js';
import { quickProbe } from '../probe/quick.js';
import type { Adapted } from './judge.js';

/** What AdaBN is given. */
export interface AdaBnSettings {
  source: ImageDataset;
  /** Without labels. */
  target: ImageDataset;
  /** Features of the source as the model itself sees it: which images can be read. */
  known: { source: Features; target: Features };
  extracting: ExtractOptions & { batchSize: number; threads: number };
  seed: number;
}

/**
 * AdaBN (Li et al., Revisiting Batch Normalization for Practical Domain Adaptation, 2016): each domain goes through the
 * network with BatchNorm statistics of its own, estimated on its images, and the classifier is fitted on the source's: a
 * head that was trained behind other statistics, those of the pretraining where BatchNorm was frozen, would be lost
 * without it. The caller disposes the copy.
 *
 * @throws NOT_TRAINABLE without BatchNorm that can be measured
 */
export async function adaBn(
  model: Model,
  { source, target, known, extracting, seed }: AdaBnSettings,
): Promise<Omit<Adapted, 'method' | 'seconds'>> {
  const copy = await copyModel(model);
  try {
    const { preprocessing } = known.source;
    const reading = { ...extracting, preprocessing, seed };
    await estimate(copy, known.source.train.paths, reading);
    const own = await extractFeatures(copy, source, extracting);
    const { linear } = await quickProbe(own, { seed, signal: extracting.signal });
    await estimate(copy, known.target.train.paths, reading);
    const other = await extractFeatures(copy, target, extracting);
    const map = linear as LinearMap;
    return { map, target: other, source: { val: own.val, map }, copy };
  } catch (error) {
    await copy.dispose();
    throw error;
  }
}

/** BatchNorm statistics become those of these images, in a random order: neighbours in a folder are often alike. */
async function estimate(
  model: Model,
  paths: readonly string[],
  reading: AdaBnSettings['extracting'] & Pick<Features, 'preprocessing'> & { seed: number },
): Promise<void> {
  const { batchSize, threads, preprocessing, seed, signal } = reading;
  const loader = new BatchLoader(
    paths.map((path) => ({ path, label: 0 })),
    {
      ...{ batchSize, threads, preprocessing, seed, view: 'eval', shuffle: true },
      ...(signal ? { signal } : {}),
    },
  );
  let before = 0;
  for await (const { data, shape } of loader) {
    // Each batch counts the same, so that a small one at the end would count too much.
    if (before > 0 && shape[0] < batchSize) break;
    await callNative(() =>
      model.native.estimateStatistics({
        inputs: [{ data, shape, dtype: 'uint8' }],
        preprocess: nativePreprocess(preprocessing),
        before,
      }),
    );
    before += 1;
  }
  if (before === 0)
    throw new TorchgraftError('IMAGE_UNREADABLE', 'adaptDomain: none of the images can be decoded.');
}

/** Names of the BatchNorm statistics of a model. */
export async function statisticsOf(model: Model): Promise<string[]> {
  const { batchNorms, buffers } = await model.summary();
  const owners = new Set(batchNorms);
  return buffers
    .map(({ name }) => name)
    .filter((name) => /running_(mean|var)$/.test(name) && owners.has(name.replace(/\.?running_\w+$/, '')));
}
