import type { BatchProgress } from '../fine-tune/options.js';
import type { Progress } from '../report/progress.js';

/** A bar for each pass over the images. */
export function batchDisplay(progress: Progress): (batch: BatchProgress) => void {
  let shown = '';
  return ({ phase, epoch, epochs, done, total }) => {
    const label =
      phase === 'train' ? `epoch ${epoch}/${epochs}` : epoch === 0 ? 'before' : `validating ${epoch}`;
    if (label !== shown) progress.start(label, total);
    shown = label;
    progress.update(done);
  };
}
