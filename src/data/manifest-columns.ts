import { invalid } from './dataset.js';
import type { Row } from './manifest-rows.js';
import { splitOf } from './split-words.js';

/** Which columns of a manifest hold what. */
export interface Columns {
  path: string;
  split: string | undefined;
  /** Of one class an image. */
  label: string | undefined;
  /** Of several. */
  labels: string | undefined;
  /** Of a regression, in the order of the columns: the column, and the target's name. */
  targets: { column: string; name: string }[];
}

/** Other names, the likeliest first, without case, blanks, `-` and `_`. */
const otherNames = {
  path: [
    ...[
      'filepath',
      'imagepath',
      'imgpath',
      'relativepath',
      'relpath',
      'filename',
      'imagefilename',
      'imagefile',
      'file',
    ],
    ...['image', 'img', 'imagename', 'imgname', 'picture', 'photo'],
  ],
  label: ['class', 'classname', 'labelname', 'classlabel', 'category', 'categoryname'],
  labels: ['tags', 'classes', 'categories'],
  split: ['set', 'subset', 'partition', 'phase', 'usage'],
} as const;

/**
 * Finds them by the usual names in any case.
 *
 * @param rows of which the first has the names
 * @param warnings tell which columns were taken under another name
 * @throws DATA_INVALID for no path, and no label or two kinds of them
 */
export function columnsOf(rows: readonly Row[], file: string, warnings: string[]): Columns {
  const [first] = rows;
  const names = [...(first as Row).values.keys()];
  const where = `${file}, line ${(first as Row).line}`;
  const exact = (wanted: string) => names.find((name) => plain(name) === wanted);
  const taken: string[] = [];
  const other = (role: keyof typeof otherNames) => {
    const found = otherNames[role].map(exact).find((name) => name !== undefined);
    if (found !== undefined) taken.push(`\`${found}\` as ${role}`);
    return found;
  };
  const path = exact('path') ?? other('path');
  if (path === undefined) throw withoutPath(where, names);
  const targets = targetsOf(names);
  const given = [exact('label'), exact('labels'), targets[0]?.column].filter((name) => name !== undefined);
  if (given.length > 1) {
    throw invalid(
      `${where}: both \`${given[0]}\` and \`${given[1]}\` are given. Keep \`label\` for one class an image, \`labels\` for ` +
        'several, or `target` for numbers.',
    );
  }
  const label = exact('label') ?? (given.length === 0 ? other('label') : undefined);
  const labels = exact('labels') ?? (given.length === 0 && label === undefined ? other('labels') : undefined);
  if (label === undefined && labels === undefined && targets.length === 0) {
    throw invalid(
      `${where}: label: is missing. Expected path, one of label, labels and target, and maybe split; the columns are ` +
        `${quoted(names)}.`,
    );
  }
  const split = exact('split') ?? otherSplit(rows, names, taken);
  if (taken.length > 0) warnings.push(`${file}: took ${taken.join(' and ')}.`);
  return { path, split, label, labels, targets };
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[\s_-]+/g, '');
}

/** What kind of labels a column is of by its name; undefined for other columns. */
export function labelKind(name: string): 'label' | 'labels' | 'target' | undefined {
  const own = plain(name);
  if (own === 'label' || own === 'labels') return own;
  return own === 'target' || /^target_./i.test(name) ? 'target' : undefined;
}

function targetsOf(names: readonly string[]): Columns['targets'] {
  return names.flatMap((column) => {
    if (plain(column) === 'target') return [{ column, name: column }];
    const name = /^target_(.+)/i.exec(column)?.[1];
    return name === undefined ? [] : [{ column, name }];
  });
}

/** A column of another name is of splits where its values are; where some are, the others have to be. */
function otherSplit(rows: readonly Row[], names: readonly string[], taken: string[]): string | undefined {
  const found = names.find((name) => (otherNames.split as readonly string[]).includes(plain(name)));
  if (found === undefined) return undefined;
  const isSplit = rows.some(({ values }) => splitOf(String(values.get(found) ?? '')) !== undefined);
  if (isSplit) taken.push(`\`${found}\` as split`);
  return isSplit ? found : undefined;
}

function withoutPath(where: string, names: readonly string[]): Error {
  return invalid(
    `${where}: path: is missing. The columns are ${quoted(names)}: call that of the images \`path\` (or file, filename, image), and ` +
      'that of their classes `label` (or class).',
  );
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}
