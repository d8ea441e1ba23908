import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
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
import { readSlices, type SliceRules, sliceRules } from './slices.js';

/** Extensions that are taken as images, in any case: what the sharp this package installs can read. */
export const imageExtensions: readonly string[] = [
  '.jpg',
  '.jpeg',
  '.jpe',
  '.jfif',
  '.png',
  '.webp',
  '.tif',
  '.tiff',
  '.gif',
  '.avif',
];

/** Options for splitting off validation images, shared by folders and manifests. */
export const splitOptions = z.strictObject({
  validation: z.number().gt(0).lt(1).default(0.2),
  seed: z.int().min(0).default(0),
});

/** The same, and slices. */
export const dataOptions = splitOptions.extend({ slices: sliceRules.optional() });

export type ImageFolderOptions = Omit<z.input<typeof dataOptions>, 'slices'> & { slices?: SliceRules };

const splitFolders: Record<string, SplitName> = {
  train: 'train',
  val: 'val',
  valid: 'val',
  validation: 'val',
  test: 'test',
};

/** What a reading of the tree passed over, by reason. */
interface Ignored {
  hidden: number;
  outside: number;
  extensions: Map<string, number>;
}

/**
 * Reads a tree of images: `train/<class>/*` with `val/<class>/*` (or `valid`, `validation`) and maybe `test/<class>/*`,
 * or `<class>/*` alone. Folders below a class belong to it. Where there is no `val`, a seeded share of every class is
 * split off train, at least one image of every class that has two. Hidden files and other extensions are passed over.
 *
 * @param options `validation`: share split off where there is no `val`, default 0.2; `seed`: of that split, default 0;
 * `slices`: rules `[{ site: 'pattern' }]` on the path below `dir`, or a function, {@link SliceRules}; default none
 * @throws TorchgraftError `FILE_NOT_FOUND` for no such folder; `DATA_INVALID` for no images, one class only, a class
 * without training images, or a class in `val` or `test` that train does not have
 */
export async function imageFolder(
  dir: string,
  options: ImageFolderOptions = {},
): Promise<ImageDataset<'single-label'>> {
  if (typeof dir !== 'string' || dir === '') throw invalidType('imageFolder: expected the path of a folder.');
  const checked = checkOptions(dataOptions, options, 'imageFolder');
  const ignored: Ignored = { hidden: 0, outside: 0, extensions: new Map() };
  const warnings: string[] = [];
  const roots = await findRoots(dir, warnings);
  const found: FoundSample[] = [];
  const names = new Set<string>();
  for (const { path, prefix, split } of roots) {
    const classes = await subfolders(path, ignored);
    if (split === 'test' && classes.length === 0) {
      warnings.push(`${path} has no class folders: it is not used.`);
      continue;
    }
    for (const name of classes) {
      names.add(name);
      await collect(join(path, name), `${prefix}${name}`, { className: name, split }, found, ignored);
    }
  }
  warnings.push(...describe(ignored));
  const slices = readSlices(dir, found, checked.slices);
  for (const [index, values] of (slices ?? []).entries()) (found[index] as FoundSample).slices = values;
  return assemble(dir, found, [...names].sort(compare), checked, warnings);
}

interface Root {
  path: string;
  prefix: string;
  split: SplitName | undefined;
}

/** The folders that hold class folders: those of the splits, or `dir` itself. */
async function findRoots(dir: string, warnings: string[]): Promise<Root[]> {
  const names = await directories(dir, await list(dir));
  const splits = names.filter((name) => name.toLowerCase() in splitFolders);
  const of = (name: string) => splitFolders[name.toLowerCase()] as SplitName;
  if (!splits.some((name) => of(name) === 'train')) {
    const stray = splits.find((name) => of(name) === 'val');
    if (stray) throw invalid(`${dir} has ${stray} but no train: expected train/<class>/ beside it.`);
    return [{ path: dir, prefix: '', split: undefined }];
  }
  for (const split of ['train', 'val', 'test'] as const) {
    const same = splits.filter((name) => of(name) === split);
    if (same.length > 1) throw invalid(`${dir} has ${same.join(' and ')}, which mean the same: keep one.`);
  }
  const others = names.filter((name) => !splits.includes(name));
  if (others.length > 0) warnings.push(`Folders beside train are not used: ${others.join(', ')}.`);
  return splits.map((name) => ({ path: join(dir, name), prefix: `${name}/`, split: of(name) }));
}

async function subfolders(path: string, ignored: Ignored): Promise<string[]> {
  const entries = await list(path);
  const names = await directories(path, entries);
  for (const entry of entries) {
    if (!entry.name.startsWith('.') && isImage(entry.name) && !names.includes(entry.name)) ignored.outside++;
  }
  return names.sort(compare);
}

/** Adds the images of one class. Linked files count; linked folders below a class do not, so that no loop can be. */
async function collect(
  path: string,
  name: string,
  of: Pick<FoundSample, 'className' | 'split'>,
  found: FoundSample[],
  ignored: Ignored,
): Promise<void> {
  for (const entry of await list(path)) {
    const next = join(path, entry.name);
    if (entry.name.startsWith('.')) ignored.hidden++;
    else if (entry.isDirectory()) await collect(next, `${name}/${entry.name}`, of, found, ignored);
    else if (isImage(entry.name)) found.push({ path: next, name: `${name}/${entry.name}`, ...of });
    else {
      const extension = extname(entry.name).toLowerCase() || 'no extension';
      ignored.extensions.set(extension, (ignored.extensions.get(extension) ?? 0) + 1);
    }
  }
}

/** Names of the visible folders among entries, links to folders included. */
async function directories(path: string, entries: Dirent[]): Promise<string[]> {
  const names: string[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const linked = entry.isSymbolicLink()
      ? await stat(join(path, entry.name)).catch(() => undefined)
      : undefined;
    if (entry.isDirectory() || linked?.isDirectory()) names.push(entry.name);
  }
  return names;
}

async function list(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOTDIR') {
      throw new TorchgraftError('DATA_INVALID', `${path} is a file: expected a folder of class folders.`, {
        cause,
      });
    }
    throw new TorchgraftError('FILE_NOT_FOUND', `Cannot read the folder ${path}: ${code}.`, { cause });
  }
}

function isImage(name: string): boolean {
  return imageExtensions.includes(extname(name).toLowerCase());
}

function describe({ hidden, outside, extensions }: Ignored): string[] {
  const warnings: string[] = [];
  if (outside > 0) warnings.push(`${outside} images outside a class folder are not used.`);
  if (hidden > 0) warnings.push(`${hidden} hidden files are not used.`);
  const kinds = [...extensions]
    .sort(([a], [b]) => compare(a, b))
    .map(([kind, count]) => `${kind} (${count})`);
  if (kinds.length > 0)
    warnings.push(`Files that are no images, by extension, are not used: ${kinds.join(', ')}.`);
  return warnings;
}
