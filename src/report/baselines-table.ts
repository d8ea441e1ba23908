import type { Task } from '../data/task.js';
import type { Baselines } from '../fine-tune/baselines.js';
import type { EpochReport } from '../fine-tune/report.js';
import type { ScratchBaseline } from '../fine-tune/scratch.js';
import { isClassified } from '../metrics/tasks.js';
import { formatTable } from './table.js';

/** A result beside what comes without fine-tuning. */
export interface Standing {
  name: string;
  accuracy: number;
  macroF1: number;
  /** Validation images that it was measured on. */
  images: number;
}

/** From what needs no learning to what was fine-tuned, which is the last. */
export function standings(
  { majority, transfer }: Baselines,
  { validation }: Pick<EpochReport, 'validation'>,
  scratch?: ScratchBaseline<Task>,
): Standing[] {
  const probe = (
    name: string,
    { accuracy, macroF1, part }: { accuracy: number; macroF1: number; part?: { val: number } | undefined },
  ) => (transfer ? [{ name, accuracy, macroF1, images: part?.val ?? transfer.images }] : []);
  const random = scratch?.best.validation;
  const [untrained] = (transfer?.controls ?? [])
    .filter(({ weights }) => weights === 'untrained')
    .sort((a, b) => b.macroF1 - a.macroF1);
  return [
    { name: `always ${majority.class}`, ...majority, images: validation.count },
    ...(random && isClassified(random) ? [trained('from scratch', { validation: random })] : []),
    ...(untrained ? probe('untrained network, probed', untrained) : []),
    ...(transfer ? probe('pretrained network, probed', transfer.pretrained) : []),
    trained('this model', { validation }),
  ].map(({ name, accuracy, macroF1, images }) => ({ name, accuracy, macroF1, images }));
}

function trained(name: string, { validation }: Pick<EpochReport, 'validation'>): Standing {
  const { accuracy, macro, count } = validation;
  return { name, accuracy, macroF1: macro.f1, images: count };
}

/** What to say where a probe of the pretrained network is better than what was trained; undefined where it is not. */
export function beatenByProbe(
  { transfer }: Baselines,
  { validation }: Pick<EpochReport, 'validation'>,
): string | undefined {
  if (!transfer || transfer.pretrained.macroF1 <= validation.macro.f1) return undefined;
  return (
    `A linear probe of the network as it was reaches a macro F1 of ${transfer.pretrained.macroF1.toFixed(3)}, more than this model: ` +
    'strategies auto and lp-ft begin with one.'
  );
}

/** The standings for the terminal. */
export function baselinesTable(
  baselines: Baselines,
  best: Pick<EpochReport, 'validation'>,
  scratch?: ScratchBaseline<Task>,
): string {
  return formatTable(
    [
      { title: 'on validation', align: 'left' },
      { title: 'accuracy', align: 'right' },
      { title: 'macro F1', align: 'right' },
      { title: 'images', align: 'right' },
    ],
    standings(baselines, best, scratch).map(({ name, accuracy, macroF1, images }) => [
      name,
      `${(accuracy * 100).toFixed(2)} %`,
      macroF1.toFixed(4),
      String(images),
    ]),
  );
}
