import type { AppendedFeatures } from '../head-options.js';
import { loadModel, type Model } from '../model.js';

/** A model whose features are asked for, behind which a classifier was put where the flag says so. */
export async function loadWithHead(
  file: string,
  classes: readonly string[],
  {
    device,
    appendHead: append,
    imageSize,
  }: { device: string; appendHead?: AppendedFeatures; imageSize: number },
): Promise<Model> {
  const model = await loadModel(file, { device });
  if (!append) return model;
  try {
    await model.replaceHead({ classes: classes.length, append, imageSize });
    return model;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}
