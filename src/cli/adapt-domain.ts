import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { writeAtomically } from '../atomic-file.js';
import { adaptDomain, type DomainAdaptation } from '../domain/adapt.js';
import { type DomainMethod, domainMethods } from '../domain/options.js';
import { unlabelledImages } from '../domain/target-folder.js';
import { loadModel } from '../model.js';
import { domainTable } from '../report/domain-table.js';
import { modelFile, readData, requireOptions, wholeNumber } from './arguments.js';
import { headLayer } from './graft-flags.js';
import { checkOutFolder, type OutFlags, overwriteOption } from './out.js';
import { print, printJson, say } from './output.js';
import {
  addPreprocessing,
  addReading,
  type PreprocessingFlags,
  preprocessingOf,
  type ReadingFlags,
  readingOf,
  skippedLines,
} from './reading-flags.js';

interface AdaptFlags extends PreprocessingFlags, ReadingFlags, OutFlags {
  model: string;
  headLayer?: string;
  source: string;
  target: string;
  out: string;
  method: 'auto' | DomainMethod;
  reportTarget?: boolean;
  steps: number;
  batchSize: number;
  seed: number;
}

/** `torchgraft adapt-domain`. */
export function define(command: Command): Command {
  command
    .option('--model <file>', 'run folder, or TorchScript model')
    .option('--source <dir>', 'labelled images of the domain that the model knows: folder or manifest')
    .option('--target <dir>', 'images of the other domain, in any folders; labels are not needed')
    .option('--out <run>', 'folder for model.pt and domain.json')
    .addOption(
      new Option('--method <name>', 'auto: try all and let the validators choose')
        .choices(['auto', ...domainMethods])
        .default('auto'),
    )
    .option(
      '--report-target',
      "read the target's class folders as well, and tell how well each method does there",
    )
    .option('--steps <n>', 'training steps of an adapter', wholeNumber(1), 300);
  addPreprocessing(command)
    .option(...headLayer)
    .option('--batch-size <n>', 'images per batch', wholeNumber(1), 32)
    .option(
      '--seed <n>',
      'of the order of images, held-out images, and the split that is made where the source has none',
      wholeNumber(0),
      0,
    );
  return addReading(command.option(...overwriteOption)).action(async (flags: AdaptFlags, self: Command) => {
    requireOptions(self, ['model', 'source', 'target', 'out']);
    await checkOutFolder(flags.out, ['model.pt', 'domain.json'], flags);
    const done = await adapt(flags);
    if (flags.json) printJson(done);
    else print(render(done, flags.out));
  });
}

async function adapt(flags: AdaptFlags): Promise<DomainAdaptation> {
  const { method, steps, seed, batchSize, reportTarget } = flags;
  const source = await readData(flags.source, seed, undefined, readingOf(flags));
  const target = reportTarget
    ? await readData(flags.target, seed, undefined, { ...readingOf(flags), purpose: 'evaluation' })
    : await unlabelledImages(flags.target);
  await using model = await loadModel(modelFile(flags.model), { device: flags.device });
  const done = await adaptDomain(model, {
    ...{ source, target, method, steps, seed, batchSize, report: reportTarget ?? false },
    ...(flags.headLayer ? { layer: flags.headLayer } : {}),
    preprocessing: preprocessingOf(flags),
    ...readingOf(flags),
    onMethod: (name) => say(`trying ${name}`),
  });
  await mkdir(flags.out, { recursive: true });
  await model.save(join(flags.out, 'model.pt'));
  const record = `${JSON.stringify({ request: flags, ...done }, null, 2)}\n`;
  await writeAtomically(join(flags.out, 'domain.json'), (temporary) => writeFile(temporary, record));
  return done;
}

function render(done: DomainAdaptation, out: string): string {
  return [
    domainTable(done),
    '',
    done.text,
    ...done.notices,
    ...skippedLines(done.skipped),
    `saved ${join(out, 'model.pt')}`,
  ].join('\n');
}
