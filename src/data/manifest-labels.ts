import { compare, invalid } from './dataset.js';
import { type Columns, labelKind } from './manifest-columns.js';
import type { Row } from './manifest-rows.js';
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
  read(values: Values, where: string): LineLabels;
}

type Values = Row['values'];

/** By the columns: `label`, one class; `labels`, several names; `target`, or `target_<name>` once or more, numbers. */
export function labelReader({ label, labels, targets }: Columns): LabelReader {
  if (label !== undefined) {
    return reader('single-label', 'label', (values, where) => readName(values.get(label), where));
  }
  if (labels !== undefined) {
    return reader('multi-label', 'labels', (values, where) => readNames(values.get(labels), where));
  }
  return {
    ...reader('regression', 'target', (values, where) => readNumbers(values, targets, where)),
    targets: targets.map(({ name }) => name),
  };
}

function reader(task: Task, kind: ReturnType<typeof labelKind>, read: LabelReader['read']): LabelReader {
  return {
    task,
    targets: undefined,
    read: (values, where) => {
      const other = [...values.keys()].find((name) => (labelKind(name) ?? kind) !== kind);
      if (other === undefined) return read(values, where);
      throw invalid(
        `${where}: the lines before are ${task}, and this one has \`${other}\`. Label every line in the same way.`,
      );
    },
  };
}

function readName(given: unknown, where: string): LineLabels {
  if (given === undefined || given === null) throw invalid(`${where}: label: is missing.`);
  if (!['string', 'number', 'boolean'].includes(typeof given)) {
    throw invalid(
      `${where}: label: expected a text or a number. For several labels an image, call the column \`labels\`.`,
    );
  }
  return { className: checkText(String(given), 'label', where) };
}

/** Refuses an empty text, and one over several lines, in which rows may have been lost. */
export function checkText(text: string, column: string, where: string): string {
  if (text.trim() === '') throw invalid(`${where}: ${column}: is empty.`);
  if (/[\r\n]/.test(text))
    throw invalid(`${where}: ${column}: holds a line break. Is a closing quote missing?`);
  return text;
}

function readNames(given: unknown, where: string): LineLabels {
  const names =
    typeof given === 'string' ? (given.trim() === '' ? [] : given.split(separator)) : (given as unknown[]);
  if (!Array.isArray(names) || names.some((name) => typeof name !== 'string')) {
    throw invalid(`${where}: labels: expected names with \`${separator}\` between them, or a list of names.`);
  }
  const labels = (names as string[]).map((name) => name.trim());
  if (labels.includes('')) throw invalid(`${where}: labels: \`${given}\` has an empty name.`);
  for (const name of labels) checkText(name, 'labels', where);
  const again = labels.find((name, index) => labels.indexOf(name) !== index);
  if (again !== undefined) throw invalid(`${where}: labels: \`${again}\` is given twice.`);
  labels.sort(compare);
  return { className: labels.join(separator), labels };
}

function readNumbers(values: Values, targets: Columns['targets'], where: string): LineLabels {
  const known = new Set(targets.map(({ column }) => column));
  const other = [...values.keys()].find((name) => labelKind(name) === 'target' && !known.has(name));
  if (other)
    throw invalid(`${where}: the lines before have no \`${other}\`. Give every line the same targets.`);
  const numbers = targets.map(({ column }) => readNumber(values.get(column), column, where));
  return { className: JSON.stringify(numbers), values: numbers };
}

function readNumber(given: unknown, column: string, where: string): number {
  const value = typeof given === 'string' && given.trim() !== '' ? Number(given) : given;
  // A model's outputs are float32.
  if (typeof value === 'number' && Number.isFinite(Math.fround(value))) return value;
  const what = given === undefined ? 'is missing' : `is \`${given}\``;
  throw invalid(`${where}: ${column} ${what}; expected a finite number.${hintFor(given)}`);
}

function hintFor(given: unknown): string {
  if (typeof given !== 'string') return '';
  if (/^\s*-?\d+,\d+\s*$/.test(given)) return ` Write ${given.trim().replace(',', '.')}.`;
  return /\p{L}/u.test(given) ? ' Names of classes go into a column `label`.' : '';
}
