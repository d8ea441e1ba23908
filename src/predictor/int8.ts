import type { ImageDataset } from '../data/dataset.js';
import type { ImageSource } from '../data/decode.js';
import { loadImages } from '../data/images.js';
import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import { classify, type LabelledModel } from '../labelled-model.js';
import type { OptimiseResult, Tensor } from '../native.js';
import { argmax } from '../ranking.js';

/** Images for int8: a data set (calibrates on training, measures on validation images), or images without labels. */
export type CalibrationImages = ImageDataset | readonly ImageSource[];

/** What 8-bit convolutions cost, measured on images that did not calibrate them. */
export interface Int8Report {
  /** Images that gave the ranges, and images that the cost was measured on. */
  calibrated: number;
  measured: number;
  /** Share of the measured images whose best class is float32's. */
  agreement: number;
  /** Top-1 accuracy of both; null where `calibration` has no labels. */
  accuracy: { float32: number; int8: number } | null;
  /** Of a forward of a few images, as tried when the model was optimised; where the second is larger, do without. */
  milliseconds: { float32: number; int8: number };
}

/** Ranges settle after a few dozen images; the first layers of more would take seconds. */
const mostSamples = 32;
const mostMeasured = 512;
const batchSize = 32;

interface Labelled {
  source: ImageSource;
  label: number | undefined;
}

/** Evenly spread. */
function spread<T>(list: readonly T[], most: number): T[] {
  const count = Math.min(list.length, most);
  return Array.from({ length: count }, (_, i) => list[Math.floor((i * list.length) / count)] as T);
}

function chooseImages(
  calibration: unknown,
  classes: readonly string[],
): { samples: ImageSource[]; measured: Labelled[] } {
  const enough =
    'Give at least 2 images, 32 or more are better, for example `calibration: await imageFolder(...)`.';
  if (Array.isArray(calibration)) {
    if (calibration.length < 2)
      throw invalidValue(`createPredictor: \`calibration\` has ${calibration.length} images. ${enough}`);
    const held = calibration.filter((_, i) => i % 2 === 1) as ImageSource[];
    return {
      samples: spread(calibration.filter((_, i) => i % 2 === 0) as ImageSource[], mostSamples),
      measured: spread(held, mostMeasured).map((source) => ({ source, label: undefined })),
    };
  }
  const data = calibration as ImageDataset | undefined;
  if (!data?.splits?.train || !data.splits.val) {
    throw invalidType(
      `createPredictor: precision \`int8\` needs \`calibration\`: data from imageFolder, or a list of images. ${enough}`,
    );
  }
  const labelOf = data.classes.map((name) => classes.indexOf(name));
  const missing = labelOf.indexOf(-1);
  if (missing >= 0) {
    throw invalidValue(
      `createPredictor: \`calibration\` has a class \`${data.classes[missing]}\` that the model does not know. ` +
        'Give data of its classes, or a list of images.',
    );
  }
  return {
    samples: spread(data.splits.train, mostSamples).map(({ path }) => path),
    measured: spread(data.splits.val, mostMeasured).map(({ path, label }) => ({
      source: path,
      label: labelOf[label],
    })),
  };
}

/** Float32 beside int8 on the same images: what the second costs is measured, and refused above a bound. */
export class Int8Trial {
  readonly samples: Tensor;
  readonly #labelled: LabelledModel;
  readonly #measured: Labelled[];
  readonly #threads: number;
  readonly #float32: number[];

  private constructor(
    labelled: LabelledModel,
    samples: Tensor,
    measured: Labelled[],
    threads: number,
    float32: number[],
  ) {
    this.#labelled = labelled;
    this.samples = samples;
    this.#measured = measured;
    this.#threads = threads;
    this.#float32 = float32;
  }

  /** Decodes the calibrating images and classifies the others, before the model is optimised. */
  static async begin(labelled: LabelledModel, calibration: unknown, threads: number): Promise<Int8Trial> {
    const { samples, measured } = chooseImages(calibration, labelled.card.classes);
    const { data, shape } = await loadImages(samples, labelled.card.preprocessing, { threads });
    const float32 = await predictAll(labelled, measured, threads);
    return new Int8Trial(labelled, { data, shape, dtype: 'uint8' }, measured, threads, float32);
  }

  /** Classifies again. @throws ACCURACY_LOST when int8 is wrong more often by more than `maxAccuracyLoss` */
  async finish({ seconds, float32Seconds }: OptimiseResult, maxAccuracyLoss: number): Promise<Int8Report> {
    const int8 = await predictAll(this.#labelled, this.#measured, this.#threads);
    const count = this.#measured.length;
    const share = (isHit: (index: number) => boolean) =>
      this.#measured.filter((_, i) => isHit(i)).length / count;
    const agreement = share((i) => int8[i] === this.#float32[i]);
    const accuracy =
      this.#measured[0]?.label === undefined
        ? null
        : {
            float32: share((i) => this.#float32[i] === this.#measured[i]?.label),
            int8: share((i) => int8[i] === this.#measured[i]?.label),
          };
    const lost = accuracy ? accuracy.float32 - accuracy.int8 : 1 - agreement;
    if (lost > maxAccuracyLoss) throw this.#lost(lost, accuracy, agreement, maxAccuracyLoss);
    const milliseconds = { float32: 1000 * float32Seconds, int8: 1000 * seconds };
    return {
      calibrated: this.samples.shape[0] as number,
      measured: count,
      agreement,
      accuracy,
      milliseconds,
    };
  }

  #lost(lost: number, accuracy: Int8Report['accuracy'], agreement: number, most: number): TorchgraftError {
    const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
    const what = accuracy
      ? `top-1 accuracy falls from ${percent(accuracy.float32)} to ${percent(accuracy.int8)}`
      : `the best class differs from float32's for ${percent(1 - agreement)}`;
    return new TorchgraftError(
      'ACCURACY_LOST',
      `createPredictor: with precision \`int8\` ${what} on ${this.#measured.length} images, ${percent(lost)} lost where ` +
        `\`maxAccuracyLoss\` allows ${percent(most)}. Take precision \`auto\`, or raise \`maxAccuracyLoss\`.`,
    );
  }
}

/** Best class of each image. */
async function predictAll(
  labelled: LabelledModel,
  images: readonly Labelled[],
  threads: number,
): Promise<number[]> {
  const { preprocessing, classes } = labelled.card;
  const best: number[] = [];
  for (let from = 0; from < images.length; from += batchSize) {
    const sources = images.slice(from, from + batchSize).map(({ source }) => source);
    const { data } = await loadImages(sources, preprocessing, { threads });
    const logits = await classify(labelled, data, sources.length);
    for (let i = 0; i < sources.length; i++)
      best.push(argmax(logits.subarray(i * classes.length, (i + 1) * classes.length)));
  }
  return best;
}
