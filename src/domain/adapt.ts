import type { Sample } from '../data/dataset.js';
import type { SkippedImage } from '../data/loader.js';
import { invalidType } from '../errors.js';
import type { Model } from '../model.js';
import { choose, type JudgedMethod } from './decide.js';
import { type Adapted, judgeMethods, scoreLabelled } from './judge.js';
import {
  type AdaptDomainOptions,
  type CheckedDomainOptions,
  checkDomainOptions,
  type DomainMethod,
} from './options.js';
import type { DomainMethodReport } from './report.js';
import type { DomainShift } from './shift.js';
import { describeTarget, labelledTarget } from './target.js';
import { type Domains, extractionOf, readDomains, tryMethods } from './try-methods.js';
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
 * With `auto`, label-free validators choose, and `sourceOnly` stays where they are not agreed that another is better, and
 * where fewer than 100 target images are held out to judge by (of 332 in all); see docs/architecture.md. Labels of the target are never looked at for it.
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
  const checked = checkDomainOptions(options);
  return model.withHead(checked.layer, () => adapt(model, checked));
}

async function adapt(model: Model, checked: CheckedDomainOptions): Promise<DomainAdaptation> {
  const labelled = checked.report ? labelledTarget(checked.target, checked.source) : [];
  const domains = await readDomains(model, checked);
  const { adapted, unavailable } = await tryMethods(model, domains, checked);
  try {
    const decided = await decide(adapted, domains, checked);
    const { chosen, text } = decided;
    // Before the model is changed: it still has to see those images as each method had it.
    const methods = checked.report
      ? await withLabelled(decided.methods, adapted, model, labelled, checked)
      : decided.methods;
    await writeAdapted(model, decided.final, domains, {
      ...{ chosen, text, target: describeTarget(checked.target) },
      figures: decided.figures,
    });
    const { source, target, start, shift } = domains;
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

/** What is chosen, and the words; without a look at any label of the target. */
async function decide(
  adapted: readonly Adapted[],
  { source, target, shift }: Domains,
  checked: CheckedDomainOptions,
) {
  const all = await judgeMethods(adapted, source);
  const heldOut = target.val.paths.length;
  const { chosen: best, objections } = choose(all, { shift, heldOut, ...checked });
  const chosen = checked.method === 'auto' ? best : checked.method;
  const judged = all.map(({ figures }) => figures);
  const methods = judged.map((figures, at): DomainMethodReport => {
    const { seconds } = adapted[at] as Adapted;
    return { ...figures, objection: objections.get(figures.method) ?? '', seconds };
  });
  const at = judged.findIndex(({ method }) => method === chosen);
  const { method: _, ...figures } = judged[at] as JudgedMethod;
  return {
    ...{ chosen, methods, final: adapted[at] as Adapted, figures },
    text: decisionText({ chosen, asked: checked.method, shift, methods, heldOut }),
  };
}

/** The reports with what labels of the target say of each method, once all is decided. */
async function withLabelled(
  methods: readonly DomainMethodReport[],
  adapted: readonly Adapted[],
  model: Model,
  samples: Sample[],
  checked: CheckedDomainOptions,
): Promise<DomainMethodReport[]> {
  const scores = await scoreLabelled(adapted, model, {
    ...{ source: checked.source, samples, extracting: extractionOf(checked) },
  });
  return methods.map((report, at) => ({ ...report, labelled: scores[at] as Scored }));
}

type Scored = NonNullable<DomainMethodReport['labelled']>;
