import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname, resolve, sep } from 'node:path';
import { z } from 'zod';
import { invalidType, TorchgraftError } from '../errors.js';
import { checkOptions } from '../options.js';
import {
  assemble,
  compare,
  type FoundSample,
  type ImageDataset,
  invalid,
  type SplitName,
} from './dataset.js';
import { dataOptions, type ImageFolderOptions } from './folder.js';
import { type Columns, columnsOf } from './manifest-columns.js';
import { checkText, type LabelReader, labelReader } from './manifest-labels.js';
import { warnRepeated } from './manifest-repeats.js';
import { type Row, rowReader } from './manifest-rows.js';
import { readSlices } from './slices.js';
import { splitOf } from './split-words.js';
import { type Task, tasks } from './task.js';

const manifestOptions = dataOptions.extend({ task: z.enum(tasks).optional() });

export type ImageManifestOptions<T extends Task = Task> = ImageFolderOptions & { task?: T };

/**
 * Reads a list of images: CSV with a header line (path, label, maybe split; more columns are slices where asked for), or JSON
 * Lines with the same names, by the extension `.csv`, `.tsv`, `.jsonl` or `.ndjson`. Fields are between commas, semicolons,
 * tabs or bars, whichever the header has. Names are known in any case, and usual others too, which `warnings` tells: file,
 * filename, image and the like for `path`, class and category for `label`, set, subset and phase for `split`. Paths are relative
 * to the list, and `\\` counts as `/` where no such file exists. `split` is train, val or test, or another word that `imageFolder`
 * knows; where no line has val, a seeded share is split off as in `imageFolder`. Classes are sorted, as numbers when all of
 * them are whole numbers.
 *
 * In the place of `label`, `labels` makes a multi-label set: names with `|` between them (in JSON Lines also a list), empty
 * for none. `target`, or several columns `target_<name>`, makes a regression: finite numbers, whose names are then
 * `target` or the `<name>`s, in the order of the columns. What is split off holds a share of each label's rarest images,
 * and of a regression a share of all.
 *
 * @param options `validation`, `seed`, `purpose` and `unreadable` as of `imageFolder`;
 * `slices`: columns, for example `['scanner', 'site']`, rules on the path, or a function, {@link SliceRules}; default none;
 * `task`: what the list has to be, `single-label`, `multi-label` or `regression`, which TypeScript then knows too: the
 * reports of `fineTune` have its metrics; default: what it is
 * @throws TorchgraftError `FILE_NOT_FOUND` for a missing list or image; `DATA_INVALID` naming the line, for an image with two labels,
 * for another task, or as `imageFolder`
 */
export async function imageManifest<T extends Task = Task>(
  file: string,
  options: ImageManifestOptions<T> = {},
): Promise<ImageDataset<T>> {
  if (typeof file !== 'string' || file === '')
    throw invalidType('imageManifest: expected the path of a file.');
  const checked = checkOptions(manifestOptions, options, 'imageManifest');
  const read = rowReader(file);
  await requireFile(file);
  const rows: Row[] = [];
  for await (const row of read(file)) rows.push(row);
  if (rows.length === 0)
    throw invalid(`${file}: no images found: it has no lines below the names of the columns.`);
  const warnings: string[] = [];
  const columns = columnsOf(rows, file, warnings);
  const labels = labelReader(columns);
  if (checked.task && labels.task !== checked.task) {
    throw invalid(
      `${file}, line ${rows[0]?.line}: the list is ${labels.task}, not ${checked.task}, which \`task\` asks for.`,
    );
  }
  const found = rows.map((row) => sampleOf(file, row, columns, labels));
  requireSplits(file, found, rows);
  warnings.push(...warnRepeated(file, found, rows, labels.task));
  const names = [...new Set(rows.flatMap(({ values }) => [...values.keys()]))];
  const described = found.map((one, index) => ({ ...one, record: rows[index]?.values ?? new Map() }));
  const slices = readSlices(file, described, checked.slices, names);
  for (const [index, values] of (slices ?? []).entries()) (found[index] as FoundSample).slices = values;
  const classes =
    labels.targets ?? sortLabels([...new Set(found.flatMap((one) => one.labels ?? [one.className]))]);
  return assemble(file, found, classes, checked, warnings, { task: labels.task as T });
}

async function requireFile(file: string): Promise<void> {
  const stats = await stat(file).catch((cause) => {
    throw new TorchgraftError('FILE_NOT_FOUND', `No manifest at ${file}.`, { cause });
  });
  if (!stats.isFile()) throw invalid(`${file} is not a file: expected a list of images.`);
}

/** What a line says of its image. */
function sampleOf(file: string, { line, values }: Row, columns: Columns, labels: LabelReader): FoundSample {
  const where = `${file}, line ${line}`;
  const path = pathOf(values.get(columns.path), where);
  return {
    path: locate(dirname(file), path),
    name: path.replaceAll('\\', '/'),
    split: columns.split === undefined ? undefined : readSplit(values.get(columns.split), where),
    listed: `line ${line} of ${basename(file)}`,
    ...labels.read(values, where),
  };
}

function pathOf(given: unknown, where: string): string {
  if (given === undefined || given === null) throw invalid(`${where}: path: is missing.`);
  if (typeof given !== 'string') throw invalid(`${where}: path: expected a text.`);
  if (/^[a-z][a-z+]+:\/\//i.test(given)) {
    throw invalid(
      `${where}: path: \`${given}\` is an address. Fetch the image, and give the path of its file.`,
    );
  }
  return checkText(given, 'path', where);
}

/** Lists that were written on Windows have backslashes, which a name may hold elsewhere. */
function locate(folder: string, path: string): string {
  const own = resolve(folder, path);
  const isForeign = sep === '/' && path.includes('\\') && !existsSync(own);
  return isForeign ? resolve(folder, path.replaceAll('\\', '/')) : own;
}

function readSplit(given: unknown, where: string): SplitName | undefined {
  const word = String(given ?? '').trim();
  if (word === '') return undefined;
  const split = splitOf(word);
  if (split) return split;
  throw invalid(`${where}: unknown split \`${word}\`. Expected train, val or test.`);
}

function requireSplits(file: string, found: readonly FoundSample[], rows: readonly Row[]): void {
  const unsplit = found.filter((one) => one.split === undefined).length;
  if (unsplit === 0 || unsplit === found.length) return;
  const first = rows[found.findIndex((one) => one.split === undefined)]?.line;
  throw invalid(
    `${file}: ${unsplit} of ${found.length} lines have no split, the first being line ${first}. Give every line one, or none.`,
  );
}

function sortLabels(labels: string[]): string[] {
  const whole = labels.every((label) => /^\d+$/.test(label));
  return labels.sort(whole ? (a, b) => Number(a) - Number(b) || compare(a, b) : compare);
}
