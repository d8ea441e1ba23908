import type { ModelDescription } from '../../native.js';
import { layerUnits, ownerOf } from '../../patterns.js';

/**
 * How much slower each layer learns than the one above it, where nothing is said. 0.75 a block is what BEiT (Bao et al. 2021)
 * and MAE (He et al. 2021) fine-tune their large models with; their base models have 0.65. Discriminative rates for other
 * networks are of Howard and Ruder (2018), whose 1 / 2.6 a layer is of three LSTMs: after ten convolutions it would leave
 * nothing. 0.9 is no paper's: it leaves the first of 20 layers an eighth.
 */
const decays = { convolutional: 0.9, transformer: 0.75 };

/**
 * The layers below the head, from the top, as lists of module paths. A normalisation counts with the layer before it, as
 * in `last:k`. In a network with LayerNorm all layers of a block are one, as in BEiT: 0.75 for each of a block's
 * projections would leave nothing after three blocks.
 *
 * @param head names of the head's parameters
 */
export function bodyLayers(model: ModelDescription, head: readonly string[]): string[][] {
  const ofHead = new Set(head.map(ownerOf));
  const layers = model.layers.filter((path) => !ofHead.has(path));
  const blocks = isTransformer(model) ? findBlocks(model) : [];
  const units: { block: string | undefined; paths: string[] }[] = [];
  for (const [first, ...norms] of layerUnits(layers, model.modules)) {
    for (const path of [first as string, ...norms]) {
      const block = blocks.find((outer) => path === outer || path.startsWith(`${outer}.`));
      const last = units.at(-1);
      const isMember = block === undefined ? path !== first : last?.block === block;
      if (last && isMember) last.paths.push(path);
      else units.push({ block, paths: [path] });
    }
  }
  return units.map(({ paths }) => paths).reverse();
}

/** A network with attention or LayerNorm. */
export function isTransformer({ modules }: ModelDescription): boolean {
  return modules.some(({ type }) => /Attention|LayerNorm/.test(type));
}

/** The default of `layerDecay`. */
export function defaultLayerDecay(model: ModelDescription): number {
  return isTransformer(model) ? decays.transformer : decays.convolutional;
}

/**
 * How many layers lie above each parameter's: 0 for the head. Parameters that forward does not use through a module of
 * their own count with the lowest layer.
 */
export function depths(model: ModelDescription, head: readonly string[]): (name: string) => number {
  const layers = bodyLayers(model, head);
  const depth = new Map(layers.flatMap((paths, index) => paths.map((path) => [path, index + 1] as const)));
  const isHead = new Set(head);
  return (name) => (isHead.has(name) ? 0 : (depth.get(ownerOf(name)) ?? layers.length));
}

/** The modules that a LayerNorm lies in, but for those around others: the blocks. */
function findBlocks({ modules }: ModelDescription): string[] {
  const holders = modules.filter(({ type }) => type.includes('LayerNorm')).map(({ path }) => ownerOf(path));
  const around = (path: string) => path === '' || holders.some((other) => other.startsWith(`${path}.`));
  return [...new Set(holders)].filter((path) => !around(path));
}
