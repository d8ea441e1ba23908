import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname, extname, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { type CsvError, parse } from 'csv-parse';
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
import { type LabelReader, labelReader } from './manifest-labels.js';
import { readSlices } from './slices.js';
import { type Task, tasks } from './task.js';

const splitWords: Record<string, SplitName> = {
  train: 'train',
  val: 'val',
  valid: 'val',
  validation: 'val',
  test: 'test',
};

const manifestOptions = dataOptions.extend({ task: z.enum(tasks).optional() });

export type ImageManifestOptions<T extends Task = Task> = ImageFolderOptions & { task?: T };

const row = z.object({
  path: z.string().min(1, 'is empty'),
  label: z.union([z.string().min(1, 'is empty'), z.number(), z.boolean()]).optional(),
  split: z.string().optional().nullable(),
});

/**
 * Reads a list of images: CSV with a header line (path, label, maybe split; more columns are slices where asked for), or JSON
 * Lines with the same names, by the extension `.csv`, `.jsonl` or `.ndjson`. Paths are relative to the list. `split` is
 * train, val (valid, validation) or test; where no line has val, a seeded share is split off as in `imageFolder`.
 * Classes are sorted, as numbers when all of them are whole numbers.
 *
 * In the place of `label`, `labels` makes a multi-label set: names with `|` between them (in JSON Lines also a list), empty
 * for none. `target`, or several columns `target_<name>`, makes a regression: finite numbers, whose names are then
 * `target` or the `<name>`s, in the order of the columns. What is split off holds a share of each label's rarest images,
 * and of a regression a share of all.
 *
 * @param options `validation`: share split off where there is no `val`, default 0.2; `seed`: of that split, default 0;
 * `slices`: columns, for example `['scanner', 'site']`, rules on the path, or a function, {@link SliceRules}; default none;
 * `task`: what the list has to be, `single-label`, `multi-label` or `regression`, which TypeScript then knows too: the
 * reports of `fineTune` have its metrics; default: what it is
 * @throws TorchgraftError `FILE_NOT_FOUND` for a missing list or image; `DATA_INVALID` naming the line, for another task, or as
 * `imageFolder`
 */
export async function imageManifest<T extends Task = Task>(
  file: string,
  options: ImageManifestOptions<T> = {},
): Promise<ImageDataset<T>> {
  if (typeof file !== 'string' || file === '')
    throw invalidType('imageManifest: expected the path of a file.');
  const checked = checkOptions(manifestOptions, options, 'imageManifest');
  const lines = reader(file);
  await access(file).catch((cause) => {
    throw new TorchgraftError('FILE_NOT_FOUND', `No manifest at ${file}.`, { cause });
  });
  const folder = dirname(file);
  const found: FoundSample[] = [];
  const records: Record<string, unknown>[] = [];
  let labels: LabelReader | undefined;
  for await (const { line, record } of lines(file)) {
    const where = `${file}, line ${line}`;
    const { label, ...place } = sample(folder, where, record);
    const own = record as Record<string, unknown>;
    labels ??= labelReader(own, where);
    if (labels.task !== labelReader(own, where).task)
      throw invalid(`${where}: the lines before are ${labels.task}. Label every line in the same way.`);
    if (checked.task && labels.task !== checked.task)
      throw invalid(`${where}: the list is ${labels.task}, not ${checked.task}, which \`task\` asks for.`);
    found.push({ ...place, ...labels.read(own, where) });
    if (checked.slices) records.push(record as Record<string, unknown>);
  }
  const unsplit = found.filter((one) => one.split === undefined).length;
  if (unsplit > 0 && unsplit < found.length) {
    throw invalid(
      `${file}: ${unsplit} of ${found.length} lines have no split. Give every line one, or none.`,
    );
  }
  const columns = [...new Set(records.flatMap(Object.keys))];
  const rows = found.map((one, index) => ({ ...one, record: records[index] ?? {} }));
  const slices = readSlices(file, rows, checked.slices, columns);
  for (const [index, values] of (slices ?? []).entries()) (found[index] as FoundSample).slices = values;
  const names = found.flatMap((one) => one.labels ?? [one.className]);
  const classes = labels?.targets ?? sortLabels([...new Set(names)]);
  return assemble(file, found, classes, checked, [], labels?.task as T | undefined);
}

type Records = AsyncGenerator<{ line: number; record: unknown }>;

function reader(file: string): (file: string) => Records {
  const extension = extname(file).toLowerCase();
  if (extension === '.csv') return readCsv;
  if (extension === '.jsonl' || extension === '.ndjson') return readJsonLines;
  throw invalid(`${file}: expected a .csv, .jsonl or .ndjson file.`);
}

function isCsvError(error: unknown): error is CsvError {
  return (error as { code?: unknown } | undefined)?.code?.toString().startsWith('CSV_') ?? false;
}

async function* readCsv(file: string): Records {
  const parser = parse({ columns: true, bom: true, trim: true, skip_empty_lines: true, info: true });
  const source = createReadStream(file).on('error', (error) => parser.destroy(error));
  try {
    for await (const { info, record } of source.pipe(parser)) yield { line: info.lines, record };
  } catch (cause) {
    if (!isCsvError(cause)) throw cause;
    throw new TorchgraftError('DATA_INVALID', `${file} is not valid CSV: ${cause.message}`, { cause });
  } finally {
    source.destroy();
  }
}

async function* readJsonLines(file: string): Records {
  let line = 0;
  for await (const text of createInterface({
    input: createReadStream(file),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    line++;
    if (text.trim() === '') continue;
    let record: unknown;
    try {
      record = JSON.parse(text);
    } catch (cause) {
      throw new TorchgraftError('DATA_INVALID', `${file}, line ${line}: not valid JSON.`, { cause });
    }
    yield { line, record };
  }
}

/** Where a line's image is, and in which split. */
function sample(
  folder: string,
  where: string,
  record: unknown,
): Pick<FoundSample, 'path' | 'name' | 'split'> & { label?: unknown } {
  const parsed = row.safeParse(record);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.join('.') || 'the line';
    throw invalid(`${where}: ${field}: ${issue?.message}. Expected path, label and maybe split.`);
  }
  const { path, label, split } = parsed.data;
  const word = split?.trim().toLowerCase();
  if (word && !(word in splitWords)) {
    throw invalid(`${where}: unknown split \`${split}\`. Expected train, val or test.`);
  }
  return {
    path: resolve(folder, path),
    name: path.replaceAll('\\', '/'),
    split: word ? splitWords[word] : undefined,
    label,
  };
}

function sortLabels(labels: string[]): string[] {
  const whole = labels.every((label) => /^\d+$/.test(label));
  return labels.sort(whole ? (a, b) => Number(a) - Number(b) || compare(a, b) : compare);
}
