import { invalidValue } from '../errors.js';
import type { Model } from '../model.js';
import type { ModelDescription } from '../native.js';
import { ownerOf } from '../patterns.js';
import { type LoraOptions, loraOptions } from './options.js';

/**
 * Gives a model that has its head the adapters of these options. Those that it has stay where they are the same ones.
 *
 * @param head names of the head's parameters
 * @throws PATTERN_UNMATCHED, INVALID_VALUE when no layer can have one
 */
export async function adaptLayers(
  model: Model,
  head: readonly string[],
  options: LoraOptions,
  seed: number,
): Promise<void> {
  const { rank, alpha = 2 * rank, targets } = loraOptions.parse(options);
  const summary = await model.summary();
  const layers = targetLayers(model, summary, head, targets);
  const scale = alpha / rank;
  const fitting = layers.filter((layer) => isWorthwhile(summary, layer, rank));
  const isSame =
    summary.adapters.length === fitting.length &&
    summary.adapters.every(
      (adapter) => adapter.rank === rank && adapter.scale === scale && fitting.includes(adapter.layer),
    );
  if (isSame && fitting.length > 0) return;
  if (summary.adapters.length > 0) await model.mergeAdapters();
  await model.addAdapters({ layers, rank, scale, seed });
}

function targetLayers(
  model: Model,
  { layers, modules, heads, adapters }: ModelDescription,
  head: readonly string[],
  targets: string[] | undefined,
): string[] {
  const ours = new Set(adapters.flatMap(({ down, up }) => [ownerOf(down), ownerOf(up)]));
  const isHead = new Set([...head.map(ownerOf), ...heads.map(({ module }) => module)]);
  const isNorm = new Set(modules.filter(({ type }) => type.includes('Norm')).map(({ path }) => path));
  const named = targets && new Set(model.select(targets).map(ownerOf));
  const found = layers.filter(
    (path) => !ours.has(path) && !isHead.has(path) && !isNorm.has(path) && (named?.has(path) ?? true),
  );
  if (found.length > 0) return found;
  throw invalidValue(
    'fineTune: `lora.targets` names no layer beside the head, which learns whole, and normalisations. Name Linear or ' +
      'Conv2d layers, or leave it out.',
  );
}

/** Its adapter has fewer numbers than its weight. */
function isWorthwhile({ parameters }: ModelDescription, layer: string, rank: number): boolean {
  const name = layer === '' ? 'weight' : `${layer}.weight`;
  const shape = parameters.find((parameter) => parameter.name === name)?.shape ?? [];
  if (shape.length !== 2 && shape.length !== 4) return false;
  const [rows, ...rest] = shape as [number, ...number[]];
  const columns = rest.reduce((product, size) => product * size, 1);
  return rank * (rows + columns) < rows * columns;
}
