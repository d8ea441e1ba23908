import { z } from 'zod';
import { nativePreprocess } from './data/preprocessing.js';
import { invalidValue } from './errors.js';
import { checkOutputs, type LabelledModel } from './labelled-model.js';
import { callNative } from './native-call.js';
import { checkOptions, suggest } from './options.js';
import { signalOption } from './value-kinds.js';

const gradCamOptions = z.strictObject({
  classes: z.array(z.string()).optional(),
  batchSize: z.int().min(1).default(32),
  signal: signalOption,
});

/**
 * - `classes`: the class that each image is explained for, by name, one for each image; default: the predicted ones
 * - `batchSize`: images a forward; default 32
 * - `signal`: stops between batches with ABORTED
 */
export type GradCamOptions = z.input<typeof gradCamOptions>;

/** Which places of an image speak for a class. */
export interface GradCamMap {
  /** The class that is explained. */
  class: string;
  index: number;
  /** Sides of the map, which lies over what the model sees of the image, its crop: cells. */
  height: number;
  width: number;
  /** 0 to 1, row-major [height, width]; the largest is 1, or all are 0 where nothing speaks for the class. */
  values: Float32Array;
}

/** Options with the classes as indices. */
export function checkGradCam(options: GradCamOptions, known: readonly string[], count: number) {
  const { classes, ...rest } = checkOptions(gradCamOptions, options, 'gradCam');
  if (!classes) return { ...rest, indices: undefined };
  if (classes.length !== count) {
    throw invalidValue(
      `gradCam: \`classes\` has ${classes.length} names for ${count} images. Give one for each.`,
    );
  }
  const indices = classes.map((name) => {
    const index = known.indexOf(name);
    if (index < 0) throw invalidValue(`gradCam: no class is called \`${name}\`. ${suggest(name, known)}`);
    return index;
  });
  return { ...rest, indices: Int32Array.from(indices) };
}

/**
 * Grad-CAM (Selvaraju et al. 2017) of n images, RGB bytes [n, size, size, 3], preprocessed as for a prediction.
 *
 * @param classes indices, one for each image; default: the predicted ones
 * @throws NO_HEAD where no map of features is pooled before the head; BUSY, DISPOSED, MODEL_FAILED, MODEL_FROZEN, OUT_OF_MEMORY
 */
export async function explain(
  { model, card: { preprocessing, classes: names } }: LabelledModel,
  pixels: Uint8Array,
  count: number,
  classes?: Int32Array,
): Promise<GradCamMap[]> {
  const shape = [count, preprocessing.size, preprocessing.size, 3];
  const found = await callNative(() =>
    model.native.gradCam({
      inputs: [{ data: pixels, shape, dtype: 'uint8' }],
      preprocess: nativePreprocess(preprocessing),
      ...(classes ? { classes } : {}),
    }),
  );
  checkOutputs(found.logits, count, names, model.origin.name);
  const [, height = 0, width = 0] = found.maps.shape;
  const values = found.maps.data as Float32Array;
  const cells = height * width;
  return Array.from(found.classes, (index, i) => ({
    ...{ class: names[index] as string, index, height, width },
    values: values.slice(i * cells, (i + 1) * cells),
  }));
}
