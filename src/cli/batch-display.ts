import type { BatchProgress } from '../fine-tune/options.js';
import type { Progress } from '../report/progress.js';

/** A bar for each pass over the images, by the label that a batch's pass has. */
export function batchDisplay<B extends BatchProgress>(
  progress: Progress,
  labelOf: (batch: B) => string = labelOfEpoch,
): (batch: B) => void {
  let shown = '';
  return (batch) => {
    const label = labelOf(batch);
    if (label !== shown) progress.start(label, batch.total);
    shown = label;
    progress.update(batch.done, batch.seconds);
  };
}

function labelOfEpoch({ phase, epoch, epochs }: BatchProgress): string {
  if (phase === 'train') return `epoch ${epoch}/${epochs}`;
  return epoch === 0 ? 'before' : `validating ${epoch}`;
}
