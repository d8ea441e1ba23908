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
import {
  addPreprocessing,
  addReading,
  type PreprocessingFlags,
  preprocessingOf,
  type ReadingFlags,
  readingOf,
  skippedLines,
} from './reading-flags.js';

interface AdaptFlags extends PreprocessingFlags, ReadingFlags {
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
export function addAdaptDomain(program: Command): Command {
  const command = program
    .command('adapt-domain')
    .description('Adapt a classifier to unlabelled images of another domain')
    .option('--model <file>', 'run folder, or TorchScript model')
    .option('--source <dir>', 'labelled images of the domain that it knows: folder or manifest')
    .option('--target <dir>', 'images of the other domain, in any folders')
    .option('--out <run>', 'folder that receives model.pt and domain.json')
    .addOption(
      new Option('--method <name>', 'one method, or those that the validators choose from')
        .choices(['auto', ...domainMethods])
        .default('auto'),
    )
    .option('--report-target', "read the target's class folders too, and tell how each method does there")
    .option('--steps <n>', 'of training an adapter', wholeNumber(1), 300);
  addPreprocessing(command)
    .option(...headLayer)
    .option('--batch-size <n>', 'images a batch', wholeNumber(1), 32)
    .option(
      '--seed <n>',
      'of orders, held-out images, and of the split where the source has none',
      wholeNumber(0),
      0,
    );
  return addReading(command).action(async (flags: AdaptFlags, self: Command) => {
    requireOptions(self, ['model', 'source', 'target', 'out']);
    const done = await adapt(flags);
    process.stdout.write(`${flags.json ? JSON.stringify(done) : render(done, flags.out)}\n`);
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
    onMethod: (name) => process.stderr.write(`trying ${name}\n`),
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
