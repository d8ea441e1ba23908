import { mixesImages } from '../augment-option.js';
import { invalidValue } from '../errors.js';
import type { CheckedOptions } from './options.js';

/** What an option cannot be together with: whether it is, why not, and the way out. */
type Conflict = [isGiven: boolean, why: string];

/**
 * Refuses what contradicts mixed images, and an optimizer that sees all images at once together with a sampler.
 *
 * @throws INVALID_VALUE
 */
export function checkAugmentation(
  options: Pick<CheckedOptions, 'augment' | 'views' | 'loss' | 'optimizer' | 'sampler' | 'groups'>,
): void {
  const { augment, views, loss, optimizer, sampler, groups } = options;
  if (sampler === 'balanced' && optimizer.kind === 'lbfgs') {
    throw invalidValue(
      'fineTune: optimizer `lbfgs` sees every training image once in each step. Leave `sampler` out, or give ' +
        '`classWeights` to the loss.',
    );
  }
  if (!mixesImages(augment)) return;
  const conflicts: Conflict[] = [
    [
      optimizer.kind === 'lbfgs',
      'optimizer `lbfgs` learns from unaugmented images. Leave them out, or use another optimizer.',
    ],
    [
      typeof views === 'number',
      `\`views: ${views}\` keeps features of single images. Leave \`views\` out, or say \`live\`.`,
    ],
    [
      loss.kind === 'source',
      'a loss from source text takes class indices, and a mixed image has shares of two. Use a loss by name.',
    ],
    [
      groups !== undefined && groups.loss !== 'mean',
      '`groups` weighs each image by its group, and a mixed image is of two. Leave one of them out.',
    ],
  ];
  const found = conflicts.find(([isGiven]) => isGiven);
  if (found) throw invalidValue(`fineTune: \`augment\` with mixup or cutmix: ${found[1]}`);
}
