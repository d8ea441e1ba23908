import { mixesImages } from '../augment-option.js';
import type { Task } from '../data/task.js';
import { invalidValue } from '../errors.js';
import type { NativeLoss } from '../native.js';
import type { CheckedOptions } from './options.js';

/** What options are when they are left out, by task. */
export const taskDefaults: Record<Task, { loss: NativeLoss; metric: string }> = {
  'single-label': { loss: { kind: 'crossEntropy', labelSmoothing: 0 }, metric: 'valMacroF1' },
  // Free of a threshold: of rare labels no probability reaches 0.5 for epochs, and F1 stays 0 while the order improves.
  'multi-label': { loss: { kind: 'bceWithLogits' }, metric: 'valMeanAveragePrecision' },
  // Free of units, so that no target outweighs the others; of one target it ranks epochs as RMSE does.
  regression: { loss: { kind: 'mse' }, metric: 'valR2' },
};

/** Losses of which a task's metrics mean something. */
const losses: Record<Task, NativeLoss['kind'][] | undefined> = {
  'single-label': undefined,
  'multi-label': ['bceWithLogits', 'source'],
  regression: ['mse', 'huber', 'source'],
};

/**
 * Refuses what has a meaning for images of one class alone.
 *
 * @throws INVALID_VALUE naming the option and the way out
 */
export function checkTask(
  options: Pick<CheckedOptions, 'loss' | 'augment' | 'sampler' | 'groups' | 'distillation' | 'head'>,
  task: Task,
  where = 'fineTune',
): void {
  const known = losses[task];
  if (!known) return;
  const { loss, augment, sampler, groups, distillation, head } = options;
  const conflicts: [isGiven: boolean, why: string][] = [
    [
      !known.includes(loss.kind),
      `\`loss\` ${loss.kind} is for images of one class. Use ${known.slice(0, -1).join(' or ')}, or TorchScript source.`,
    ],
    [
      mixesImages(augment),
      '`augment` with mixup or cutmix mixes images of one class each. Use `default`, or an object without both.',
    ],
    [sampler === 'balanced', '`sampler` balanced draws by class. Leave it out.'],
    [groups !== undefined, '`groups` are a slice by class. Leave it out.'],
    [
      distillation !== undefined,
      '`distillation` is for images of one class. Use `regularisation` `l2-sp` or `ewc` against forgetting.',
    ],
    [
      task === 'regression' && head.kind === 'cosine',
      "`head` cosine has outputs between minus and plus its scale, not a target's. Use `linear`.",
    ],
  ];
  const found = conflicts.find(([isGiven]) => isGiven);
  if (found) throw invalidValue(`${where}: the data is ${task}, and ${found[1]}`);
}
