import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { loadClassifier } from '../classifier.js';
import type { Sample } from '../data/dataset.js';
import { taskOf } from '../data/task.js';
import { TorchgraftError } from '../errors.js';
import type { ReportContent } from '../html-report/content.js';
import { drawDoubted } from '../html-report/doubts.js';
import {
  classifySamples,
  describeFile,
  pictures,
  type ReportedRun,
  saveReport,
  writeReport,
} from '../html-report/write.js';
import { formatTime } from '../report/progress.js';
import { type RunRecord, readRunRecord } from '../run-record.js';
import { readData } from './arguments.js';
import { checkOutFile, type OutFlags, overwriteOption } from './out.js';
import { print, say } from './output.js';

/**
 * Writes the report of a run that has just ended. A report that fails costs no training: it is said and no more.
 *
 * @returns the file, or undefined when it could not be written
 */
export async function tryReport(
  file: string,
  say: (line: string) => void,
  run: ReportedRun,
): Promise<string | undefined> {
  const start = performance.now();
  try {
    await writeReport(file, run);
    say(`report ${file}  (${formatTime((performance.now() - start) / 1000)})`);
    return file;
  } catch (error) {
    say(`note   The report could not be written: ${(error as Error).message} The model is saved.`);
    return undefined;
  }
}

interface ReportFlags extends OutFlags {
  data?: string;
  out?: string;
  device: string;
}

/** `torchgraft report`. */
export function define(command: Command): Command {
  return command
    .argument('<run>', 'run folder')
    .option('--data <dir>', 'where the images are now (default: where they were)')
    .option('--out <file>', 'file for the report (default: report.html in the run folder)')
    .option(...overwriteOption)
    .option('--device <name>', 'auto, cpu, cuda:0, ...', 'auto')
    .action(async (run: string, flags: ReportFlags) => {
      const source = join(run, 'run.json');
      const record = await readRunRecord(source);
      const file = flags.out ?? join(run, 'report.html');
      // The run's own report is what the command is to replace.
      await checkOutFile(file, { overwrite: flags.overwrite || flags.out === undefined });
      const draw = async () => {
        const { missing = [], ...content } = await gatherAgain(run, record, flags);
        await mkdir(dirname(file), { recursive: true });
        await saveReport(file, { ...content, missing });
        return missing;
      };
      const missing = await draw().catch((cause: unknown) => {
        throw isUnexpected(cause) ? unreadable(source, cause) : cause;
      });
      for (const line of missing) say(`note   ${line}`);
      print(file);
    });
}

/** Of a record that is not as any run writes it, drawing fails somewhere, without a code. */
function isUnexpected(error: unknown): boolean {
  return !(error as { code?: unknown }).code;
}

function unreadable(source: string, cause: unknown): TorchgraftError {
  return new TorchgraftError(
    'DATA_INVALID',
    `${source} was changed or damaged since it was written: ${(cause as Error).message}. Restore it, or train again.`,
    { cause },
  );
}

/** What can still be known of a run: the model may be gone, and the images moved or changed. */
async function gatherAgain(run: string, record: RunRecord, flags: ReportFlags): Promise<ReportContent> {
  const file = join(run, 'model.pt');
  if (!existsSync(file))
    return { record, missing: [`${file} is not there, so no image was classified again.`] };
  const model = await describeFile(file);
  await using classifier = await loadClassifier(file, { device: flags.device });
  const { card } = classifier;
  if (taskOf(card) !== 'single-label') return { record, card, model };
  const found = await findImages(record, flags.data);
  if ('why' in found) return { record, card, model, missing: [found.why] };
  const labelled = { model: classifier.model, card };
  const outcomes = await classifySamples(labelled, found.samples, 2);
  const doubted = await drawDoubted(record.baselines?.audit);
  return { record, card, model, outcomes, mistakes: await pictures(labelled, outcomes, record), doubted };
}

/** The validation images, if they are the ones of the run. */
async function findImages(
  { data, request }: RunRecord,
  moved: string | undefined,
): Promise<{ samples: Sample[] } | { why: string }> {
  const source = moved ?? data.source;
  if (source === undefined || !existsSync(source)) {
    return { why: `The images are not at ${source} any more: --data says where they are.` };
  }
  // Images that were missing then are missing now.
  const now = await readData(source, Number(request?.seed ?? 0), undefined, { unreadable: 'skip' }).catch(
    (error: TorchgraftError) => {
      if (error.code !== 'DATA_INVALID') throw error;
      return { why: `The images at ${source} cannot be read as those of the run: ${error.message}` };
    },
  );
  if ('why' in now) return now;
  if (now.summary.fingerprint === data.fingerprint) return { samples: now.splits.val };
  return { why: `The images at ${source} are not those of the run, so none was classified again.` };
}
