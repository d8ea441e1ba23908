import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ImageDataset, Sample } from '../data/dataset.js';
import { sliceValues } from '../data/slices.js';
import { invalidValue } from '../errors.js';
import type { NamedMetrics } from '../metrics/names.js';
import type { NativeBatch, NativeTraining } from '../native.js';
import { innerOptions } from '../options.js';
import type { CheckedOptions } from './options.js';
import type { SourceBatch } from './source.js';

/** The option `groups`: a slice's name, or an object. */
export const groupsOption = z
  .unknown()
  .transform((value) => (typeof value === 'string' ? { slice: value } : value))
  .pipe(
    innerOptions({
      slice: z.string().min(1),
      loss: z.enum(['mean', 'balanced', 'dro']).default('mean'),
      stepSize: z.number().gt(0).max(1000).default(0.01),
    }),
  );

/**
 * Groups are one slice's values, each by class (Sagawa et al. 2020). `slice`: its name. `loss`: `mean` (default) learns
 * from all images alike; `balanced` weighs each by 1 / the images of its group; `dro` is GroupDRO, which weighs groups by
 * exp(`stepSize` x loss), step after step. `stepSize`: default 0.01.
 */
export type GroupsOption = string | { slice: string; loss?: 'mean' | 'balanced' | 'dro'; stepSize?: number };

export type CheckedGroups = z.output<typeof groupsOption>;

/** What the worst group of the validation images is called among the metrics. */
export const worstGroupMetric = 'valWorstGroupAccuracy';

/** Names that reports of a run with these groups carry beside the usual. */
export function groupMetricNames(groups: CheckedGroups | undefined): string[] {
  return groups ? [worstGroupMetric] : [];
}

/** @throws INVALID_VALUE for what does not go with groups */
export function checkGroups({
  groups,
  optimizer,
  loss,
}: Pick<CheckedOptions, 'groups' | 'optimizer' | 'loss'>): void {
  if (!groups || groups.loss === 'mean') return;
  if (groups.loss === 'dro' && optimizer.kind === 'lbfgs') {
    throw invalidValue(
      'fineTune: optimizer `lbfgs` minimises one function, and that of `groups.loss: "dro"` changes with each step. Use another, or `balanced`.',
    );
  }
  if (loss.kind === 'source') {
    throw invalidValue(
      'fineTune: a `loss` of source text gives one number for a batch, which groups cannot weigh. Use a loss by name, or `groups.loss: "mean"`.',
    );
  }
}

/** Groups of samples by slice and class: an index for each sample, and how many samples each has. */
export class SampleGroups {
  /** [n]. */
  readonly indices: Int32Array;
  /** Sorted, without those of no sample. */
  readonly groups: { value: string; label: number; count: number }[];

  /** @throws INVALID_VALUE for a slice that the samples do not have, naming the nearest */
  constructor(samples: readonly Sample[], slice: string, where: string) {
    const values = sliceValues(samples, slice, where);
    const keyOf = (index: number) => JSON.stringify([values[index], samples[index]?.label]);
    const keys = [...new Set(samples.map((_, index) => keyOf(index)))].sort();
    const indexOf = new Map(keys.map((key, index) => [key, index]));
    this.indices = Int32Array.from(samples, (_, index) => indexOf.get(keyOf(index)) as number);
    this.groups = keys.map((key, group) => {
      const [value, label] = JSON.parse(key) as [string, number];
      return { value, label, count: this.indices.filter((own) => own === group).length };
    });
  }
}

/** What a batch of training images tells the addon of groups. */
export type Weighing = Pick<NativeBatch, 'weights' | 'groups'>;

/** How training images are weighed by their groups; undefined where all count alike. */
export function groupWeighing(
  groups: CheckedGroups | undefined,
  { splits }: ImageDataset,
): ((batch: SourceBatch) => Weighing) | undefined {
  if (!groups || groups.loss === 'mean') return undefined;
  const found = new SampleGroups(splits.train, groups.slice, 'fineTune');
  if (groups.loss === 'dro') {
    return ({ indices }) => ({ groups: indices.map((index) => found.indices[index] as number) });
  }
  // Their mean over all images is 1.
  const share = splits.train.length / found.groups.length;
  const weights = found.groups.map(({ count }) => share / count);
  return ({ indices }) => ({
    weights: Float32Array.from(indices, (index) => weights[found.indices[index] as number] as number),
  });
}

/** What the addon is configured with. */
export function nativeGroups(
  groups: CheckedGroups | undefined,
  { splits }: ImageDataset,
): Pick<NativeTraining, 'groupDro'> {
  if (groups?.loss !== 'dro') return {};
  const { length } = new SampleGroups(splits.train, groups.slice, 'fineTune').groups;
  return { groupDro: { groups: length, stepSize: groups.stepSize } };
}

/** What a recipe says of the data: its own fingerprint, and that of the slice that groups come from. */
export function dataFingerprint(groups: CheckedGroups | undefined, data: ImageDataset): string {
  const { fingerprint } = data.summary;
  if (!groups) return fingerprint;
  const values = [data.splits.train, data.splits.val].map((samples) =>
    sliceValues(samples, groups.slice, 'fineTune'),
  );
  const hash = createHash('sha256').update(JSON.stringify(values)).digest('hex');
  return `${fingerprint}, ${groups.slice} ${hash}`;
}

/** Counts what is right in each group of the validation images. */
export class GroupAccuracy {
  readonly #groups: SampleGroups;
  #hits: Float64Array;
  #counts: Float64Array;

  constructor(samples: readonly Sample[], slice: string) {
    this.#groups = new SampleGroups(samples, slice, 'fineTune');
    this.#hits = new Float64Array(this.#groups.groups.length);
    this.#counts = this.#hits.slice();
  }

  /** A pass begins. */
  begin(): void {
    this.#hits.fill(0);
    this.#counts.fill(0);
  }

  /** Logits [n, classes] of a batch. */
  add({ labels, indices }: SourceBatch, logits: Float32Array): void {
    const classes = logits.length / labels.length;
    for (const [row, label] of labels.entries()) {
      const scores = logits.subarray(row * classes, (row + 1) * classes);
      const group = this.#groups.indices[indices[row] as number] as number;
      this.#counts[group] = (this.#counts[group] as number) + 1;
      if (scores.indexOf(Math.max(...scores)) === label)
        this.#hits[group] = (this.#hits[group] as number) + 1;
    }
  }

  /** Null where no image of any group could be read. */
  metrics(): NamedMetrics {
    const shares = Array.from(this.#counts, (count, group) => (this.#hits[group] as number) / count);
    const known = shares.filter((share) => !Number.isNaN(share));
    return { [worstGroupMetric]: known.length === 0 ? null : Math.min(...known) };
  }
}
