import { throwIfAborted } from '../errors.js';
import { type ImageDataset, invalid, type Sample } from './dataset.js';
import { decodeImage, isUnreadable } from './decode.js';
import { mapInOrder } from './in-order.js';
import { completePreprocessing, type Preprocessing } from './preprocessing.js';
import { taskOf } from './task.js';

/** As small as it gets: what counts is that it can be decoded. */
const side = 8;

/** Samples of which at least one has to be readable. */
interface Part {
  split: 'train' | 'val';
  /** Undefined for all of the split. */
  className: string | undefined;
  samples: readonly Sample[];
}

/**
 * Whether enough is left where unreadable images are skipped: an image of each class to train on, and one to validate on. Of each
 * class images are decoded until one can be, so that it costs little where few are bad.
 *
 * @returns a sentence for each class of which no validation image can be read
 * @throws DATA_INVALID naming the classes, ABORTED
 */
export async function requireReadable(
  data: ImageDataset,
  {
    preprocessing,
    threads,
    signal,
  }: {
    preprocessing: Pick<Preprocessing, 'pixelRange'>;
    threads: number;
    signal?: AbortSignal | undefined;
  },
  where: string,
): Promise<string[]> {
  const reasons = new Map<string, Promise<string | undefined>>();
  const reasonOf = ({ path }: Sample) => {
    const known = reasons.get(path) ?? whyUnreadable(path, preprocessing);
    reasons.set(path, known);
    return known;
  };
  const parts = partsOf(data);
  const why = await mapInOrder(parts, threads, async ({ samples }) => {
    let first: string | undefined;
    for (const sample of samples) {
      throwIfAborted(signal);
      const reason = await reasonOf(sample);
      if (reason === undefined) return undefined;
      first ??= reason;
    }
    return first;
  });
  const gone = parts.map((part, index) => ({ ...part, reason: why[index] })).filter(({ reason }) => reason);
  const [first] = gone.filter(({ split, className }) => split === 'train' || className === undefined);
  if (!first)
    return gone.map(
      ({ className }) =>
        `Class \`${className}\` has no image in val that can be read: its recall there is undefined.`,
    );
  const { split, className, samples, reason } = first;
  const of = className === undefined ? '' : ` of \`${className}\``;
  const kind = split === 'train' ? 'training' : 'validation';
  throw invalid(
    `${where}: none of the ${samples.length} ${kind} images${of} can be read. The first: ${reason} Replace them, or remove ` +
      `${className === undefined ? 'the split' : 'the class'}.`,
  );
}

function partsOf(data: ImageDataset): Part[] {
  const { classes, splits } = data;
  const isOf = (sample: Sample, label: number) =>
    taskOf(data) === 'single-label' ? sample.label === label : sample.targets?.[label] === 1;
  const names = taskOf(data) === 'regression' ? [] : classes;
  return (['train', 'val'] as const).flatMap((split) => {
    const all = { split, className: undefined, samples: splits[split] };
    const each = names.map((className, label) => ({
      split,
      className,
      samples: splits[split].filter((sample) => isOf(sample, label)),
    }));
    return [all, ...each];
  });
}

async function whyUnreadable(
  path: string,
  { pixelRange }: Pick<Preprocessing, 'pixelRange'>,
): Promise<string | undefined> {
  const small = { ...completePreprocessing({ size: side, resize: side }), pixelRange };
  try {
    await decodeImage(path, small, 'canvas', new Uint8Array(side * side * 3), 0);
    return undefined;
  } catch (error) {
    if (isUnreadable(error)) return (error as Error).message;
    throw error;
  }
}
