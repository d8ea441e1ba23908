import { TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';

/** Models in a loop: between two batches nothing native would refuse a second one. */
const underWay = new WeakSet<Model>();

/** @throws BUSY while another loop has it */
export function claim(model: Model): void {
  if (underWay.has(model)) {
    throw new TorchgraftError('BUSY', 'fineTune: this model is being fine-tuned. Leave that loop first.');
  }
  underWay.add(model);
}

export function release(model: Model): void {
  underWay.delete(model);
}
