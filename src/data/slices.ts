import { z } from 'zod';
import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import { suggest } from '../options.js';

/** Value of a slice that a sample has none of: an empty column, a path that the rule does not fit. */
export const noValue = '(none)';

/** What a callback is told of an image. */
export interface SliceSource {
  /** Of the file. */
  path: string;
  /** Path relative to the folder or as the manifest has it, with `/`. */
  name: string;
  class: string;
  /** `train`, `val` or `test`; undefined where it is still to be split. */
  split: string | undefined;
}

/**
 * Where slices come from: columns of a manifest by name, rules `{ site: 'pattern' }` whose first group in the relative path
 * is the value, or both in one list; or a function that gives each image's values by slice.
 */
export type SliceRules =
  | readonly (string | Readonly<Record<string, string | RegExp>>)[]
  | ((image: SliceSource) => Record<string, string>);

/** Checked in full by `readSlices`, which knows the columns. */
export const sliceRules = z.custom<SliceRules>(
  (value) => Array.isArray(value) || typeof value === 'function',
  'expected a list of columns and path rules, for example ["scanner", { site: "/(site-.)/" }], or a function',
);

/** An image as it was found, with its line of the manifest. */
interface Found extends Omit<SliceSource, 'class'> {
  className: string;
  record?: ReadonlyMap<string, unknown>;
}

/**
 * Gives every image its values.
 *
 * @param columns of the manifest; undefined for a folder
 * @throws INVALID_TYPE, INVALID_VALUE for rules that are none; DATA_INVALID for a column that there is not, a rule that
 * fits no path, a value that is no text
 */
export function readSlices(
  source: string,
  found: readonly Found[],
  rules: SliceRules | undefined,
  columns?: readonly string[],
): Record<string, string>[] | undefined {
  if (rules === undefined) return undefined;
  if (typeof rules === 'function') return found.map((image) => called(rules, image));
  const readers = rules.flatMap((rule) =>
    typeof rule === 'string' ? [columnReader(source, rule, columns)] : ruleReaders(source, rule, found),
  );
  const twice = readers.find(({ slice }, index) => readers.findIndex((one) => one.slice === slice) !== index);
  if (twice) throw invalidValue(`${source}: slice \`${twice.slice}\` is given twice.`);
  return found.map((image) => Object.fromEntries(readers.map(({ slice, read }) => [slice, read(image)])));
}

interface Reader {
  slice: string;
  read: (image: Found) => string;
}

function columnReader(source: string, slice: string, columns: readonly string[] | undefined): Reader {
  if (!columns) {
    throw invalidValue(
      `${source}: a folder has no columns, so \`${slice}\` names no slice. Give a path rule, { ${slice}: "pattern" }, or a function.`,
    );
  }
  if (!columns.includes(slice)) {
    throw new TorchgraftError(
      'DATA_INVALID',
      `${source} has no column \`${slice}\`. ${suggest(slice, columns)}`,
    );
  }
  return {
    slice,
    read: ({ record, name }) => {
      const value = record?.get(slice) ?? '';
      if (typeof value === 'object') {
        throw new TorchgraftError('DATA_INVALID', `${source}: \`${slice}\` of ${name} is not one value.`);
      }
      return String(value).trim() || noValue;
    },
  };
}

function ruleReaders(
  source: string,
  rule: Readonly<Record<string, string | RegExp>>,
  found: readonly Found[],
): Reader[] {
  if (typeof rule !== 'object' || rule === null) {
    throw invalidType(`${source}: a slice is a column's name, or a rule { site: "pattern" }.`);
  }
  return Object.entries(rule).map(([slice, pattern]) => {
    const expression = compile(slice, pattern);
    const read = ({ name }: Pick<Found, 'name'>) => expression.exec(name)?.[1] || noValue;
    if (found.length > 0 && found.every((image) => read(image) === noValue)) {
      throw new TorchgraftError(
        'DATA_INVALID',
        `${source}: the rule of slice \`${slice}\`, ${expression}, fits no path, for example not ${found[0]?.name}. Its first ` +
          'group, in round brackets, is the value.',
      );
    }
    return { slice, read };
  });
}

function compile(slice: string, pattern: string | RegExp): RegExp {
  try {
    // Without `g` and `y`, whose searches begin where the last one ended.
    const given = typeof pattern === 'string' ? new RegExp(pattern) : pattern;
    const expression = new RegExp(given.source, given.flags.replace(/[gy]/g, ''));
    if (new RegExp(`${expression.source}|`).exec('')?.length !== 1) return expression;
  } catch (cause) {
    throw invalidValue(
      `slices: the rule of \`${slice}\` is no regular expression: ${(cause as Error).message}.`,
    );
  }
  throw invalidValue(
    `slices: the rule of \`${slice}\`, ${pattern}, has no group. Put round brackets around what is the value.`,
  );
}

function called(rules: (image: SliceSource) => Record<string, string>, image: Found): Record<string, string> {
  const { path, name, className, split } = image;
  const values: unknown = rules({ path, name, class: className, split });
  const isFit =
    typeof values === 'object' &&
    values !== null &&
    Object.values(values).every((value) => typeof value === 'string' && value !== '');
  if (!isFit) {
    throw invalidType(
      `slices: the function gave ${JSON.stringify(values)} for ${name}; expected texts by slice, for example { site: "A" }.`,
    );
  }
  return { ...(values as Record<string, string>) };
}

/** The value of each sample in a slice. @throws INVALID_VALUE for a slice that the data does not have, naming the nearest */
export function sliceValues(
  samples: readonly { slices?: Readonly<Record<string, string>> }[],
  slice: string,
  where: string,
): string[] {
  const known = sliceNames(samples);
  if (!known.includes(slice)) {
    const hint =
      known.length > 0
        ? suggest(slice, known)
        : 'It has none: give `slices` to imageFolder or imageManifest.';
    throw invalidValue(`${where}: the data has no slice \`${slice}\`. ${hint}`);
  }
  return samples.map(({ slices }) =>
    slices && Object.hasOwn(slices, slice) ? (slices[slice] as string) : noValue,
  );
}

/** Names of the slices that samples have, in the order in which they were given. */
export function sliceNames(samples: readonly { slices?: Readonly<Record<string, string>> }[]): string[] {
  return [...new Set(samples.flatMap(({ slices }) => Object.keys(slices ?? {})))];
}
