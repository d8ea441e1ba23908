import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, parse } from 'node:path';
import { type Command, Option } from 'commander';
import { writeAtomically } from '../atomic-file.js';
import { renderWiseFtChart, wiseFtTable } from '../forgetting/render.js';
import { type WiseFtResult, wiseFt } from '../forgetting/wise-ft.js';
import { loadModel, type Model } from '../model.js';
import { modelFile, readData, requireOptions, shareOf, wholeNumber } from './arguments.js';
import { listenForInterrupt } from './interrupt.js';
import { percent } from './lines.js';
import { checkOutFile, type OutFlags, overwriteOption } from './out.js';
import { print, printJson, say } from './output.js';
import { addReading, loadingOf, type ReadingFlags, readingOf, skippedLines } from './reading-flags.js';

interface WiseFtFlags extends ReadingFlags, OutFlags {
  base: string;
  data: string;
  out?: string;
  start?: string;
  retain?: string;
  alphas?: number[];
  choose: 'accuracy' | 'retention';
  tolerance: number;
  batchSize: number;
  seed: number;
}

/** `torchgraft wise-ft`. */
export function define(command: Command): Command {
  command
    .argument('<run>', 'run folder, or model file')
    .option('--base <file>', 'the pretrained model that the run began from')
    .option('--data <dir>', 'folder or manifest; its validation images judge')
    .option(
      '--out <file>',
      'file for the new model, with a plot beside it as .svg (default: wise-ft.pt beside the old one)',
    )
    .option(
      '--start <run>',
      'a model with the same head from which fine-tuning began, so that the head can be interpolated too',
    )
    .option(
      '--retain <dir>',
      'images of the task that the model was pretrained for: how much of it is left is measured',
    )
    .option('--alphas <x,...>', 'shares of the fine-tuned weights to try (default: 0, 0.1, ... 1)', shares)
    .addOption(
      new Option(
        '--choose <name>',
        'accuracy: the best. retention: the most retention within --tolerance of the best accuracy',
      )
        .choices(['accuracy', 'retention'])
        .default('accuracy'),
    )
    .option('--tolerance <x>', 'accuracy that may be given up for retention, from 0 to 1', shareOf, 0.01)
    .option('--batch-size <n>', 'images per batch', wholeNumber(1), 32)
    .option('--seed <n>', 'of the split that is made where the data has none', wholeNumber(0), 0);
  return addReading(command.option(...overwriteOption)).action(
    async (run: string, flags: WiseFtFlags, self: Command) => {
      requireOptions(self, ['base', 'data']);
      const interrupt = listenForInterrupt({
        now: 'Finishing this batch.',
        then: () => 'Nothing was written.',
      });
      await interpolate(run, flags, interrupt.signal).finally(interrupt.stop);
    },
  );
}

async function interpolate(run: string, flags: WiseFtFlags, signal: AbortSignal): Promise<void> {
  const { choose, tolerance, batchSize, retain, alphas } = flags;
  const own = modelFile(run);
  const out = flags.out ?? join(dirname(own), 'wise-ft.pt');
  const plot = join(dirname(out), `${parse(out).name}.svg`);
  for (const file of [out, plot]) await checkOutFile(file, flags);
  const data = await readData(flags.data, flags.seed, undefined, readingOf(flags));
  await using model = await loadModel(own, loadingOf(flags));
  await using base = await loadModel(modelFile(flags.base), loadingOf(flags));
  await using start =
    flags.start === undefined ? undefined : await loadModel(modelFile(flags.start), loadingOf(flags));
  if (!isMadeOf(model, base)) {
    say(`note   ${own} says that it was not made of ${flags.base}: is it the right one?`);
  }
  const result = await wiseFt(model, base, data, {
    ...{ choose, tolerance, batchSize, signal, ...readingOf(flags) },
    ...(alphas ? { alphas } : {}),
    ...(start ? { start } : {}),
    ...(retain ? { retain } : {}),
    onPoint: ({ alpha, validation }) => say(`alpha ${alpha}: accuracy ${percent(validation.accuracy)}`),
  });
  await mkdir(dirname(out), { recursive: true });
  await model.save(out);
  const chart = await renderWiseFtChart(result);
  await writeAtomically(plot, (temporary) => writeFile(temporary, chart));
  const text = render(result, { out, plot });
  if (flags.json) printJson({ model: out, plot, ...result });
  else print(text);
}

/** Whether the card knows of the base, in this fine-tuning or one before it. */
function isMadeOf({ card }: Model, { origin }: Model): boolean {
  let step = card?.provenance as { source?: { sha256?: string }; before?: typeof step } | undefined;
  while (step && step.source?.sha256 !== origin.sha256) step = step.before;
  return step !== undefined;
}

function render(result: WiseFtResult, { out, plot }: { out: string; plot: string }): string {
  const { chosen, isHeadInterpolated, skipped } = result;
  const head = isHeadInterpolated ? 'the head went along' : 'the head is the fine-tuned one';
  return [
    wiseFtTable(result),
    ...skippedLines(skipped),
    '',
    `chosen alpha ${chosen.alpha}: val accuracy ${percent(chosen.validation.accuracy)}; ${head}`,
    `saved  ${out}, ${plot}`,
  ].join('\n');
}

function shares(text: string): number[] {
  return text.split(',').map(shareOf);
}
