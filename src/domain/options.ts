import { z } from 'zod';
import type { ImageDataset } from '../data/dataset.js';
import { requireSingleLabel } from '../data/task.js';
import { invalidType } from '../errors.js';
import { checkOptions } from '../options.js';
import { type ExtractOptions, extractSchema } from '../probe/features.js';
import { trainedMethods } from './losses.js';
import type { TargetImages } from './target.js';

/** Ways of adapting, simplest first; the first is to leave the classifier as it is. */
export const domainMethods = ['sourceOnly', 'statistics', 'adabn', ...trainedMethods] as const;

/** How a classifier is adapted to another domain; see {@link adaptDomain}. */
export type DomainMethod = (typeof domainMethods)[number];

const domainSchema = extractSchema.extend({
  // Their types are checked in checkDomainOptions: for zod what is custom is a wrong value.
  source: z.custom<ImageDataset>(() => true),
  target: z.custom<TargetImages>(() => true),
  method: z.enum(['auto', ...domainMethods]).default('auto'),
  report: z.boolean().default(false),
  steps: z.int().min(1).max(1_000_000).default(300),
  pairs: z.int().min(2).max(4096).default(64),
  weight: z.number().gt(0).optional(),
  confidence: z.number().gt(0).lt(1).default(0.95),
  tolerance: z.number().min(0).max(1).default(0.02),
  onMethod: z
    .custom<(method: DomainMethod) => void>((value) => typeof value === 'function', 'expected a function')
    .optional(),
  seed: z
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER - 1)
    .default(0),
});

export type CheckedDomainOptions = z.output<typeof domainSchema>;

/**
 * @throws INVALID_TYPE, among others for a source that is no data set and a target that is neither paths nor one;
 * INVALID_VALUE
 */
export function checkDomainOptions(options: AdaptDomainOptions): CheckedDomainOptions {
  const checked = checkOptions(domainSchema, options, 'adaptDomain');
  const { source, target } = checked;
  if (!isDataset(source)) {
    throw invalidType('adaptDomain: `source`: expected data from imageFolder or imageManifest.');
  }
  requireSingleLabel(source as ImageDataset, 'adaptDomain');
  const isPaths = Array.isArray(target) && target.every((path) => typeof path === 'string' && path !== '');
  if (!isPaths && !isDataset(target)) {
    throw invalidType(
      'adaptDomain: `target`: expected a list of paths, or data from imageFolder or imageManifest.',
    );
  }
  return checked;
}

const isDataset = (value: unknown) => (value as ImageDataset | undefined)?.splits?.train !== undefined;

/**
 * Those of extractFeatures, and
 * - `source`: labelled images of the domain that the model knows: `train` is learnt from, `val` judges
 * - `target`: images of the other domain, as paths or as a data set, whose labels are then not looked at: its `train`
 *   and `val` are adapted to
 * - `method`: `auto` (default) tries all and takes what the validators choose (never `mcc` or `pseudoLabels`, and nothing
 *   but `sourceOnly` with fewer than 100 held-out images), or one by name, which is taken whatever they say
 * - `report`: tell in `labelled` how each method does on the target's labels (its `test` where it has one, else all its
 *   images); nothing is chosen by them; default false
 * - `steps`: of training an adapter; default 300
 * - `pairs`: images of each domain in a step; default 64
 * - `weight`: of a trained method's term beside the cross-entropy of the source; default by method: of `coral` what makes
 *   both losses equal (measured every 10 steps; its authors' rule), of others 1
 * - `confidence`: smallest probability of a pseudo-label; default 0.95
 * - `tolerance`: how much accuracy and macro F1 on the source's validation images may fall; default 0.02
 * - `seed`: default 0
 * - `onMethod`: called with the name of each method as it begins
 */
export type AdaptDomainOptions = ExtractOptions & {
  source: ImageDataset;
  target: TargetImages;
  method?: 'auto' | DomainMethod;
  report?: boolean;
  steps?: number;
  pairs?: number;
  weight?: number;
  confidence?: number;
  tolerance?: number;
  seed?: number;
  onMethod?: (method: DomainMethod) => void;
};
