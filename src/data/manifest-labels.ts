import { compare, invalid } from './dataset.js';
import type { Task } from './task.js';

/** What a line says of its image. */
export interface LineLabels {
  /** One text for all of it, for the fingerprint and messages. */
  className: string;
  /** Of a multi-label set: the names it has. */
  labels?: string[];
  /** Of a regression: one for each target. */
  values?: number[];
}

/** Between the names of the column `labels`. */
const separator = '|';

/** How the lines of a manifest are labelled. */
export interface LabelReader {
  task: Task;
  /** Names of the targets of a regression, in the order of the columns; else undefined. */
  targets: string[] | undefined;
  /** @param where the file and the line @throws DATA_INVALID */
  read(record: Record<string, unknown>, where: string): LineLabels;
}

/**
 * Chooses by the names of a manifest's first line: `label`, one class; `labels`, several names; `target`, or
 * `target_<name>` once or more, numbers.
 *
 * @throws DATA_INVALID for none or two of them
 */
export function labelReader(record: Record<string, unknown>, where: string): LabelReader {
  const targets = targetColumns(record);
  const given = [...['label', 'labels'].filter((name) => name in record), ...targets.slice(0, 1)];
  if (given.length > 1) {
    throw invalid(
      `${where}: both \`${given[0]}\` and \`${given[1]}\` are given. Keep \`label\` for one class an image, \`labels\` for ` +
        'several, or `target` for numbers.',
    );
  }
  if (given[0] === 'label')
    return {
      task: 'single-label',
      targets: undefined,
      read: (own) => ({ className: String(own.label) }),
    };
  if (given[0] === 'labels') return { task: 'multi-label', targets: undefined, read: readNames };
  if (targets.length === 0) {
    throw invalid(
      `${where}: label: is missing. Expected path, one of label, labels and target, and maybe split.`,
    );
  }
  return {
    task: 'regression',
    targets: targets.map((name) => name.replace(/^target_/, '')),
    read: (own, at) => readNumbers(own, targets, at),
  };
}

function targetColumns(record: Record<string, unknown>): string[] {
  return Object.keys(record).filter((name) => name === 'target' || /^target_./.test(name));
}

function readNames(record: Record<string, unknown>, where: string): LineLabels {
  const { labels: given } = record;
  const names =
    typeof given === 'string' ? (given.trim() === '' ? [] : given.split(separator)) : (given as unknown[]);
  if (!Array.isArray(names) || names.some((name) => typeof name !== 'string')) {
    throw invalid(`${where}: labels: expected names with \`${separator}\` between them, or a list of names.`);
  }
  const labels = (names as string[]).map((name) => name.trim());
  if (labels.includes('')) throw invalid(`${where}: labels: \`${given}\` has an empty name.`);
  const again = labels.find((name, index) => labels.indexOf(name) !== index);
  if (again !== undefined) throw invalid(`${where}: labels: \`${again}\` is given twice.`);
  labels.sort(compare);
  return { className: labels.join(separator), labels };
}

function readNumbers(record: Record<string, unknown>, columns: string[], where: string): LineLabels {
  const other = targetColumns(record).find((name) => !columns.includes(name));
  if (other)
    throw invalid(`${where}: the lines before have no \`${other}\`. Give every line the same targets.`);
  const values = columns.map((name) => {
    const given = record[name];
    const value = typeof given === 'string' && given.trim() !== '' ? Number(given) : given;
    // A model's outputs are float32.
    if (typeof value === 'number' && Number.isFinite(Math.fround(value))) return value;
    const what = given === undefined ? 'is missing' : `is \`${given}\``;
    throw invalid(`${where}: ${name} ${what}; expected a finite number.`);
  });
  return { className: JSON.stringify(values), values };
}
