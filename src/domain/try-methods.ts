import { isTorchgraftError, TorchgraftError, throwIfAborted } from '../errors.js';
import type { Model } from '../model.js';
import { type ExtractOptions, extractFeatures, type Features } from '../probe/features.js';
import { checkFeatures } from '../probe/result.js';
import { adaBn } from './adabn.js';
import { adaptMap, matchStatistics } from './candidates.js';
import type { Adapted } from './judge.js';
import { type CheckedDomainOptions, type DomainMethod, domainMethods } from './options.js';
import { type DomainShift, measureShift } from './shift.js';
import { type SourceClassifier, sourceClassifier } from './source-classifier.js';
import { unlabelledTarget } from './target.js';

/** What is known of both domains when adapting. */
export interface Domains {
  source: Features;
  /** `train` is adapted to, `val` held out. */
  target: Features;
  start: SourceClassifier;
  shift: DomainShift;
}

/** Features of both, the source's classifier, and whether they differ. */
export async function readDomains(model: Model, checked: CheckedDomainOptions): Promise<Domains> {
  const { source: data, target: images, seed, signal } = checked;
  const extracting = extractionOf(checked);
  const source = await extractFeatures(model, data, extracting);
  const target = await extractFeatures(model, unlabelledTarget(images, data, seed), extracting);
  for (const features of [source, target]) checkFeatures(features, 'adaptDomain');
  const start = await sourceClassifier(model, source, { seed, signal });
  return { source, target, start, shift: await measureShift(source.val, target, seed) };
}

/** How features are computed. */
export function extractionOf({
  layer,
  preprocessing,
  batchSize,
  threads,
  precision,
  cache,
  unreadable,
  signal,
}: CheckedDomainOptions) {
  return {
    ...{ batchSize, threads, precision, cache, unreadable },
    ...(layer ? { layer } : {}),
    ...(preprocessing ? { preprocessing } : {}),
    ...(signal ? { signal } : {}),
  } satisfies ExtractOptions;
}

/** Source-only, and the method asked for or all of them. The caller disposes copies. */
export async function tryMethods(model: Model, known: Domains, checked: CheckedDomainOptions) {
  const adapted: Adapted[] = [];
  const unavailable: { method: DomainMethod; reason: string }[] = [];
  const wanted = domainMethods.filter(
    (name) => checked.method === 'auto' || name === checked.method || name === 'sourceOnly',
  );
  try {
    for (const method of wanted) {
      throwIfAborted(checked.signal);
      checked.onMethod?.(method);
      const begun = performance.now();
      try {
        const made = await tryMethod(method, model, known, checked);
        adapted.push({ method, ...made, seconds: (performance.now() - begun) / 1000 });
      } catch (error) {
        if (checked.method !== 'auto' || !isUnavailable(error)) throw error;
        unavailable.push({ method, reason: error.message });
      }
    }
  } catch (error) {
    for (const { copy } of adapted) await copy?.dispose();
    throw error;
  }
  return { adapted, unavailable };
}

/** Lacking BatchNorm, or a training that ran away, rules one method out, not the others. */
function isUnavailable(error: unknown): error is TorchgraftError {
  return isTorchgraftError(error) && (error.code === 'NOT_TRAINABLE' || error.code === 'LOSS_NOT_FINITE');
}

async function tryMethod(
  method: DomainMethod,
  model: Model,
  { source, target, start: { map: start } }: Domains,
  checked: CheckedDomainOptions,
): Promise<Omit<Adapted, 'method' | 'seconds'>> {
  const known = { source, target, start };
  // What these two make of the source's images is what the source's classifier makes of them.
  const asBefore = { target, source: { val: source.val, map: start } };
  if (method === 'sourceOnly') return { map: start, ...asBefore };
  if (method === 'statistics') return { map: matchStatistics(known), ...asBefore };
  const { steps, pairs, weight, confidence, seed, signal } = checked;
  if (method === 'adabn') {
    return adaBn(model, {
      ...{ source: checked.source, target: unlabelledTarget(checked.target, checked.source, seed) },
      ...{ known, extracting: { ...extractionOf(checked) }, seed },
    });
  }
  const settings = { steps, batchSize: pairs, weight, confidence, seed, signal };
  const map = await adaptMap(known, method, settings);
  return { map, target, source: { val: source.val, map } };
}
