import type { z } from 'zod';
import type { SkippedImage } from '../data/loader.js';
import { invalidType, TorchgraftError, throwIfAborted } from '../errors.js';
import type { Model } from '../model.js';
import { checkOptions } from '../options.js';
import { type ExtractOptions, extractFeatures, type Features } from '../probe/features.js';
import { checkFeatures } from '../probe/result.js';
import { adaBn } from './adabn.js';
import { type SourceClassifier, sourceClassifier } from './base.js';
import { adaptMap, matchStatistics } from './candidates.js';
import { choose } from './decide.js';
import { type Adapted, judgeMethod, scoreLabelled } from './judge.js';
import { type AdaptDomainOptions, type DomainMethod, domainMethods, domainSchema } from './options.js';
import type { DomainMethodReport } from './report.js';
import { type DomainShift, measureShift } from './shift.js';
import { describeTarget, labelledTarget, unlabelledTarget } from './target.js';
import { decisionText } from './words.js';
import { writeAdapted } from './write.js';

/** What came of adapting to another domain. */
export interface DomainAdaptation {
  /** What the model is now; `sourceOnly`: what it was. */
  chosen: DomainMethod;
  /** The decision with its figures, for people. */
  text: string;
  shift: DomainShift;
  /** Source-only first. */
  methods: DomainMethodReport[];
  /** Methods that could not be tried, and why. */
  unavailable: { method: DomainMethod; reason: string }[];
  /** Of the source learnt from and judged by, of the target adapted to and held out; labelled ones with `report`. */
  images: { sourceTrain: number; sourceVal: number; target: number; heldOut: number; labelled?: number };
  /** What a person should know, one sentence each. */
  notices: string[];
  skipped: SkippedImage[];
}

/**
 * Adapts a model's classifier to unlabelled images of another domain: other contrast, blur, scanner, season. All works on
 * the features that the head takes in, which are computed once and kept, so it takes seconds on a CPU; AdaBN alone runs
 * the images through the network again. What is chosen is written into the model, which stays an ordinary one of the same
 * size: `save` it, or go on with it.
 *
 * Methods: `statistics` (mean and standard deviation of each feature), `adabn` (Li 2016), and an adapter that is trained with
 * `coral` (Sun and Saenko 2016), `mmd` (Long 2015), `dann` (Ganin 2016), `mcc` (Jin 2020) or `pseudoLabels` (Lee 2013).
 * With `auto`, label-free validators choose, and `sourceOnly` stays where they are not agreed that another is better; see
 * docs/architecture.md. Labels of the target are never looked at for it.
 *
 * @example
 * const { chosen, text } = await adaptDomain(model, { source: await imageFolder('clinic-a'), target: paths });
 * await model.save('clinic-b.pt');
 *
 * @throws those of extractFeatures and writeHead; with a method by name also what makes it unavailable, for example
 * NOT_TRAINABLE for `adabn` without BatchNorm, LOSS_NOT_FINITE
 */
export async function adaptDomain(model: Model, options: AdaptDomainOptions): Promise<DomainAdaptation> {
  if (typeof model?.replaceHead !== 'function') {
    throw invalidType('adaptDomain: expected a Model from loadModel.');
  }
  const checked = checkOptions(domainSchema, options, 'adaptDomain') as Checked;
  const labelled = checked.report ? labelledTarget(checked.target, checked.source) : [];
  const known = await readDomains(model, checked);
  const { source, target, start, shift } = known;
  const { adapted, unavailable } = await tryMethods(model, known, checked);
  try {
    const judged = [];
    for (const each of adapted) judged.push(await judgeMethod(each, source));
    const { chosen: best, objections } = choose(judged, shift, checked.tolerance);
    const chosen = checked.method === 'auto' ? best : checked.method;
    const scores = checked.report
      ? await scoreLabelled(adapted, model, {
          source: checked.source,
          samples: labelled,
          extracting: extractionOf(checked),
        })
      : [];
    const methods = judged.map((figures, at): DomainMethodReport => {
      const [score, { seconds }] = [scores[at], adapted[at] as Adapted];
      const objection = objections.get(figures.method) ?? '';
      return { ...figures, objection, seconds, ...(score ? { labelled: score } : {}) };
    });
    const text = decisionText({ chosen, asked: checked.method, shift, methods });
    const at = methods.findIndex(({ method }) => method === chosen);
    await writeAdapted(model, adapted[at] as Adapted, start.isOwnHead, source, {
      ...{ chosen, text, target: describeTarget(checked.target) },
      figures: { source: judged[at]?.source, target: judged[at]?.target } as (typeof judged)[number],
    });
    return {
      ...{ chosen, text, shift, methods, unavailable },
      images: {
        ...{ sourceTrain: source.train.paths.length, sourceVal: source.val.paths.length },
        ...{ target: target.train.paths.length, heldOut: target.val.paths.length },
        ...(checked.report ? { labelled: labelled.length } : {}),
      },
      notices: start.notice ? [start.notice] : [],
      skipped: [...source.skipped, ...target.skipped],
    };
  } finally {
    for (const { copy } of adapted) await copy?.dispose();
  }
}

type Checked = z.output<typeof domainSchema>;

interface Domains {
  source: Features;
  /** `train` is adapted to, `val` held out. */
  target: Features;
  start: SourceClassifier;
  shift: DomainShift;
}

async function readDomains(model: Model, checked: Checked): Promise<Domains> {
  const { source: data, target: images, seed, signal } = checked;
  const extracting = extractionOf(checked);
  const source = await extractFeatures(model, data, extracting);
  const target = await extractFeatures(model, unlabelledTarget(images, data, seed), extracting);
  for (const features of [source, target]) checkFeatures(features, 'adaptDomain');
  const start = await sourceClassifier(model, source, { seed, signal });
  return { source, target, start, shift: await measureShift(source.val, target, seed) };
}

function extractionOf({ preprocessing, batchSize, threads, precision, cache, unreadable, signal }: Checked) {
  return {
    ...{ batchSize, threads, precision, cache, unreadable },
    ...(preprocessing ? { preprocessing } : {}),
    ...(signal ? { signal } : {}),
  } satisfies ExtractOptions;
}

/** Source-only, and the method asked for or all of them. The caller disposes copies. */
async function tryMethods(model: Model, known: Domains, checked: Checked) {
  const adapted: Adapted[] = [];
  const unavailable: DomainAdaptation['unavailable'] = [];
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
  return (
    error instanceof TorchgraftError && (error.code === 'NOT_TRAINABLE' || error.code === 'LOSS_NOT_FINITE')
  );
}

async function tryMethod(
  method: DomainMethod,
  model: Model,
  { source, target, start: { map: start } }: Domains,
  checked: Checked,
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
