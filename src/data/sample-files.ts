import { stat as statCallback } from 'node:fs';
import { promisify } from 'node:util';
import type { FoundSample } from './dataset.js';
import { isUnreadable } from './decode.js';
import { mapInOrder } from './in-order.js';
import { checkRegular, fileProblem } from './open-file.js';

// Several times cheaper per file than node:fs/promises, which counts at 100,000 files.
const stat = promisify(statCallback);

const filesAtOnce = 16;

/**
 * Sizes of the samples' files in bytes; with `skip` undefined for those that are missing, or no files. Who reads the
 * images then leaves them out and lists them.
 *
 * @throws TorchgraftError `FILE_NOT_FOUND` or `IMAGE_UNREADABLE` for the first sample that has no file
 */
export function measureFiles(
  found: readonly FoundSample[],
  unreadable: 'fail' | 'skip',
): Promise<(number | undefined)[]> {
  return mapInOrder(found, filesAtOnce, async ({ path, listed }) => {
    const name = listed === undefined ? path : `${path} (${listed})`;
    try {
      return checkRegular(await stat(path), name).size;
    } catch (error) {
      const problem = fileProblem(path, name, error);
      if (unreadable === 'skip' && isUnreadable(problem)) return undefined;
      throw problem;
    }
  });
}
