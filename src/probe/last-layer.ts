import { z } from 'zod';
import type { ImageDataset, Sample } from '../data/dataset.js';
import type { SkippedImage } from '../data/loader.js';
import { requireSingleLabel } from '../data/task.js';
import { invalidValue } from '../errors.js';
import { SampleGroups } from '../fine-tune/group-training.js';
import { groupScores } from '../metrics/slices.js';
import type { Model } from '../model.js';
import { checkOptions } from '../options.js';
import { drawBalanced, halve, rowsByGroup } from './balanced.js';
import { type ExtractOptions, extractFeatures, extractSchema, type FeatureSplit } from './features.js';
import { ascending } from './grid.js';
import { writeHead } from './head.js';
import { type Matrix, pickRows, scoresOf } from './linear.js';
import type { LinearMap } from './linear-file.js';
import { type FitSettings, fitPath } from './logistic.js';
import { softmaxRows } from './probabilities.js';
import { matrixOf, probeResult } from './result.js';
import { measureColumns, standardise, unstandardise } from './standardise.js';

const schema = extractSchema.extend({
  groups: z.string().min(1),
  from: z.enum(['val', 'train']).default('val'),
  draws: z.int().min(1).max(1000).default(10),
  C: ascending.prefault([1e-4, 1e-3, 1e-2, 1e-1, 1, 10]),
  maxIterations: z.int().min(1).max(100_000).default(300),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
});

/**
 * Those of `extractFeatures`, and
 * - `groups`: the slice whose values, each by class, are balanced; needed
 * - `from`: the split that is learnt from; default `val`, which the network has not been fitted to
 * - `draws`: balanced subsets whose solutions are averaged; default 10
 * - `C`: the inverse strengths of the penalty to choose from; default 1e-4, 1e-3, ..., 10
 * - `maxIterations`: of L-BFGS for each fit; default 300
 * - `seed`: of halves and subsets; default 0
 */
export type LastLayerOptions = ExtractOptions &
  Omit<z.input<typeof schema>, keyof typeof extractSchema.shape>;

/** What a retrained last layer was made of. Plain JSON. */
export interface LastLayerResult {
  /** The penalty that was chosen. */
  C: number;
  /** For each C: accuracies on the half that was held out to choose it. */
  held: { C: number; worstGroup: number; mean: number }[];
  /** Images of each group in the split that was learnt from. */
  groups: { value: string; class: string; count: number }[];
  /** Images of each group in a balanced subset. */
  perGroup: number;
  /** Images that could not be decoded, with `unreadable: 'skip'`. */
  skipped: SkippedImage[];
}

/**
 * Retrains a model's last layer on subsets in which every group (a slice's value, by class) has as many images: deep
 * feature reweighting (DFR; Kirichenko et al., Last Layer Re-Training is Sufficient for Robustness to Spurious
 * Correlations, 2022). A network that fell for a spurious correlation mostly knows the right features too; only its last
 * layer weighs them wrongly.
 *
 * Logistic regression on standardised features, with an L2 penalty. The paper's is L1, for features of a network are many
 * and few of them needed; the L-BFGS that fits it here needs a smooth one. Its code averages 20 subsets from `val`, 10 from
 * `train`. `C` is the one with the highest accuracy of the worst group on one half of the split, fitted on the other (of
 * equal ones the better on average, then the stronger penalty); then weights of `draws` balanced subsets of all of it are
 * averaged. The head is written into the model, and proven there. Judge it by a split that it did not learn from: with
 * `from: 'val'`, by `test`.
 *
 * @example
 * const data = await imageManifest('photographs.csv', { slices: ['background'] });
 * const result = await retrainLastLayer(classifier.model, data, { groups: 'background' });
 * await classifier.model.save('robust.pt');
 *
 * @throws INVALID_TYPE, INVALID_VALUE (an unknown slice, a group of one image), and as extractFeatures and writeHead
 */
export async function retrainLastLayer(
  model: Model,
  data: ImageDataset,
  options: LastLayerOptions,
): Promise<LastLayerResult> {
  requireSingleLabel(data, 'retrainLastLayer');
  const checked = checkOptions(schema, options, 'retrainLastLayer');
  const { groups: slice, from, draws, C, maxIterations, seed, ...extracting } = checked;
  const features = await extractFeatures(model, data, extracting as ExtractOptions);
  const split = features[from];
  const found = groupsOf(split, data.splits[from], slice, from);
  const settings = { draws, C, maxIterations, seed, signal: checked.signal };
  const { linear, ...result } = await fitBalanced(split, found, features.classes, settings);
  const scores = await scoresOf(linear, matrixOf(features.val));
  const name = `last layer retrained on balanced groups of ${slice} in ${from}, C ${result.C}`;
  const probabilities = softmaxRows(scores, features.classes.length);
  await writeHead(model, features, probeResult(name, features, probabilities, linear));
  // What was learnt from is no measure of it.
  if (from === 'val' && model.card) model.card = { ...model.card, metrics: {} };
  return {
    ...result,
    groups: found.groups.map(({ value, label, count }) => ({
      ...{ value, count },
      class: features.classes[label] as string,
    })),
    skipped: features.skipped,
  };
}

interface BalancedSettings extends FitSettings {
  draws: number;
  /** Ascending. */
  C: readonly number[];
  seed: number;
}

/** The map of a split's features that the balanced subsets come to, and how its penalty was chosen. */
export async function fitBalanced(
  split: Pick<FeatureSplit, 'features' | 'shape' | 'labels'>,
  found: Pick<SampleGroups, 'indices' | 'groups'>,
  classes: readonly string[],
  { draws, C: grid, seed, ...settings }: BalancedSettings,
): Promise<Omit<LastLayerResult, 'groups' | 'skipped'> & { linear: LinearMap }> {
  const rows = rowsByGroup(found.indices, found.groups.length);
  const held = await chooseC(split, { rows, found, classes }, grid, seed, settings);
  const best = held.reduce((a, b) =>
    b.worstGroup > a.worstGroup || (b.worstGroup === a.worstGroup && b.mean > a.mean) ? b : a,
  );
  const measured = measureColumns(matrixOf(split));
  const features = standardise(matrixOf(split), measured);
  const path = grid.filter((value) => value <= best.C);
  const maps: LinearMap[] = [];
  for (let draw = 1; draw <= draws; draw++) {
    const drawn = drawBalanced(rows, seed, draw);
    const fitted = await fitRows(features, split.labels, drawn, classes.length, path, settings);
    maps.push(fitted.at(-1) as LinearMap);
  }
  const perGroup = Math.min(...rows.map(({ length }) => length));
  return { C: best.C, held, perGroup, linear: unstandardise(averageOf(maps), measured) };
}

function groupsOf(
  split: FeatureSplit,
  samples: readonly Sample[],
  slice: string,
  from: string,
): SampleGroups {
  const byPath = new Map(samples.map((sample) => [sample.path, sample]));
  const read = split.paths.map((path) => byPath.get(path) as Sample);
  const found = new SampleGroups(read, slice, 'retrainLastLayer');
  const small = found.groups.find(({ count }) => count < 2);
  if (!small) return found;
  throw invalidValue(
    `retrainLastLayer: ${from} has one image only of a class in \`${slice}\` ${small.value}. Each group needs two or more: ` +
      'add some, or leave them out.',
  );
}

interface Grouped {
  rows: readonly Int32Array[];
  found: Pick<SampleGroups, 'indices' | 'groups'>;
  classes: readonly string[];
}

/** Accuracies of each C on half of the split, learnt from balanced rows of the other half. */
async function chooseC(
  split: Pick<FeatureSplit, 'features' | 'shape' | 'labels'>,
  { rows, found, classes: names }: Grouped,
  grid: readonly number[],
  seed: number,
  settings: FitSettings,
): Promise<LastLayerResult['held']> {
  const [learn, other] = halve(rows, seed);
  const learnt = Int32Array.from(learn.flatMap((part) => [...part])).sort();
  const judged = Int32Array.from(other.flatMap((part) => [...part])).sort();
  const all = matrixOf(split);
  const measured = measureColumns(pickRows(all, learnt));
  const standardised = standardise(all, measured);
  const classes = names.length;
  const maps = await fitRows(
    standardised,
    split.labels,
    drawBalanced(learn, seed, 0),
    classes,
    grid,
    settings,
  );
  const labels = judged.map((row) => split.labels[row] as number);
  const values = Array.from(judged, (row) => found.groups[found.indices[row] as number]?.value as string);
  const held: LastLayerResult['held'] = [];
  for (const [at, map] of maps.entries()) {
    const scores = await scoresOf(map, pickRows(standardised, judged));
    const predicted = labels.map((_, row) => {
      const own = scores.subarray(row * classes, (row + 1) * classes);
      return own.indexOf(Math.max(...own));
    });
    const accuracies = groupScores({ labels, predicted }, values, names).map(({ accuracy }) => accuracy);
    const right = labels.filter((label, row) => label === predicted[row]).length;
    held.push({ C: grid[at] as number, worstGroup: Math.min(...accuracies), mean: right / labels.length });
  }
  return held;
}

function fitRows(
  features: Matrix,
  labels: Int32Array,
  rows: Int32Array,
  classes: number,
  grid: readonly number[],
  settings: FitSettings,
): Promise<LinearMap[]> {
  const learn = { features: pickRows(features, rows), labels: rows.map((row) => labels[row] as number) };
  return fitPath(learn, classes, grid, settings);
}

function averageOf(maps: readonly LinearMap[]): LinearMap {
  const mean = (of: (map: LinearMap) => Float32Array) =>
    of(maps[0] as LinearMap).map(
      (_, at) => maps.reduce((sum, map) => sum + (of(map)[at] as number), 0) / maps.length,
    );
  return { weight: mean(({ weight }) => weight), bias: mean(({ bias }) => bias) };
}
