import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { loadClassifier } from '../classifier.js';
import type { ImageDataset, Sample } from '../data/dataset.js';
import { imageFolder } from '../data/folder.js';
import { fineTune } from '../fine-tune/fine-tune.js';
import type { FineTuneResult } from '../fine-tune/result.js';
import { loadModel } from '../model.js';
import { packageRoot } from '../package.js';
import { confusionTable, perClassTable } from '../report/metrics-tables.js';
import { type Column, formatTable } from '../report/table.js';
import { wholeNumber } from './arguments.js';
import { backbonePreprocessing } from './embedded.js';
import { epochLine, percent } from './lines.js';
import { checkOutFolder, type OutFlags, overwriteOption } from './out.js';
import { print } from './output.js';
import { tryReport } from './report.js';

const assets = join(packageRoot(), 'assets');

/** `torchgraft quickstart`. */
export function define(command: Command): Command {
  return command
    .option('--out <run>', 'folder for model.pt and report.html', 'runs/quickstart')
    .option('--epochs <n>', 'epochs of each training', wholeNumber(1), 8)
    .option(...overwriteOption)
    .action(async ({ out, epochs, overwrite }: { out: string; epochs: number } & OutFlags) => {
      await checkOutFolder(out, ['model.pt', 'report.html'], { overwrite });
      const data = await imageFolder(join(assets, 'defects'));
      print(`${data.classes.length} kinds of surface (${data.classes.join(', ')}), synthetic photographs: `);
      print(`${data.splits.train.length} to learn from, ${data.splits.val.length} held back.`);
      print('\n1. Transfer: pretrained on generated textures, all layers fine-tuned');
      const transfer = await run(data, epochs, join(out, 'model.pt'), false);
      print('\n2. From scratch: the same network from random weights, same budget');
      const scratch = await run(data, epochs, undefined, true);
      print(
        '\nTransfer, on the held-back photographs (which also chose the best epoch, for both networks):\n',
      );
      print(perClassTable(transfer.best.validation));
      print(`\n${confusionTable(transfer.best.validation)}\n`);
      await showPredictions(join(out, 'model.pt'), data);
      print(compare(transfer, scratch));
      print(
        `\nSaved ${join(out, 'model.pt')} and a report beside it. Try: npx torchgraft predict ${out} <image>`,
      );
    });
}

async function run(
  data: ImageDataset,
  epochs: number,
  file: string | undefined,
  isScratch: boolean,
): Promise<FineTuneResult> {
  await using model = await loadModel(join(assets, 'backbone.pt'));
  if (isScratch) await model.reinitialise(0);
  const training = fineTune(model, data, {
    epochs,
    strategy: 'full',
    // One rate for every layer, high enough for random weights too: the comparison is fair to both.
    learningRate: 1e-3,
    batchSize: 16,
    // A defect may lie at the edge and in any direction.
    augment: { crop: { scale: [0.7, 1] }, verticalFlip: 0.5 },
    preprocessing: backbonePreprocessing,
  });
  for await (const epoch of training) print(epochLine(epoch));
  if (file) {
    await mkdir(join(file, '..'), { recursive: true });
    await model.save(file);
    await tryReport(join(file, '..', 'report.html'), print, {
      ...{ model, data, result: training.result as FineTuneResult, modelFile: file },
      outcomes: training.validationOutcomes,
    });
  }
  return training.result as FineTuneResult;
}

async function showPredictions(file: string, data: ImageDataset): Promise<void> {
  await using classifier = await loadClassifier(file);
  const samples = data.classes.map(
    (_, label) => data.splits.val.find((one) => one.label === label) as Sample,
  );
  const predictions = await classifier.predict(
    samples.map(({ path }) => path),
    { top: 1 },
  );
  const rows = samples.map(({ path, label }, i) => {
    const best = predictions[i]?.top[0];
    return [
      path.split('/').slice(-2).join('/'),
      data.classes[label] ?? '',
      best?.class ?? '',
      percent(best?.probability ?? 0),
    ];
  });
  print(`${formatTable(columns('image', 'truth', 'predicted', 'probability'), rows)}\n`);
}

function compare(transfer: FineTuneResult, scratch: FineTuneResult): string {
  const row = (name: string, { baseline, best, history }: FineTuneResult) => [
    name,
    percent(baseline.validation.accuracy),
    percent(best.validation.accuracy),
    best.validation.macro.f1.toFixed(4),
    `${best.epoch} of ${history.length}`,
  ];
  const table = formatTable(columns('network', 'before', 'accuracy', 'macro F1', 'best epoch'), [
    row('transfer', transfer),
    row('from scratch', scratch),
  ]);
  const gain = transfer.best.validation.accuracy - scratch.best.validation.accuracy;
  return `${table}\n\nTransfer gave ${(gain * 100).toFixed(1)} points of accuracy over random weights on the same budget.`;
}

function columns(...titles: string[]): Column[] {
  return titles.map((title) => ({ title, align: 'left' }));
}
