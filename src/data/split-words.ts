import type { SplitName } from './dataset.js';

/** What people call the splits of a data set. */
const words = new Map<string, SplitName>([
  ...['train', 'training', 'trn'].map((word) => [word, 'train'] as const),
  ...['val', 'valid', 'validation', 'validate', 'dev', 'eval', 'evaluation'].map(
    (word) => [word, 'val'] as const,
  ),
  ...['test', 'testing', 'tst', 'heldout', 'holdout'].map((word) => [word, 'test'] as const),
]);

/** What they put beside it: `train_images`, `Test Set`. */
const fillers = new Set([
  'set',
  'sets',
  'split',
  'subset',
  'data',
  'dataset',
  'image',
  'images',
  'img',
  'imgs',
  'pictures',
  'photos',
  'samples',
]);

/** The words of a name, in lower case, without digits; of `trainset` both. */
function wordsOf(name: string): string[] {
  return name
    .replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}]+/u)
    .filter((word) => word !== '')
    .flatMap((word) => {
      const front = [...words.keys()].find(
        (known) => word.startsWith(known) && fillers.has(word.slice(known.length)),
      );
      return front ? [front, word.slice(front.length)] : [word];
    });
}

/** The split that a folder or a column means by a name; undefined for other names. */
export function splitOf(name: string): SplitName | undefined {
  const own = wordsOf(name).filter((word) => !fillers.has(word));
  return words.get(own.join(''));
}

/** Whether a split's word is among those of a name, as in `seg_train`. */
export function mentionsSplit(name: string): boolean {
  return wordsOf(name).some((word) => words.has(word));
}

/** Whether a name says no more than that there are data: `images`, `train`, `Test Set`. */
export function isGeneric(name: string): boolean {
  return wordsOf(name).every((word) => fillers.has(word) || words.has(word));
}
