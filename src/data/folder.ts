import { join } from 'node:path';
import { z } from 'zod';
import { invalidType } from '../errors.js';
import { checkOptions } from '../options.js';
import { assemble, compare, type FoundSample, type ImageDataset, invalid } from './dataset.js';
import { isHidden, listEntries } from './directory.js';
import { findRoots, type Root } from './folder-roots.js';
import { images, isImageName, PassedOver } from './passed-over.js';
import { readSlices, type SliceRules, sliceRules } from './slices.js';

/** Options of reading data, shared by folders and manifests. */
export const dataOptions = z.strictObject({
  validation: z.number().gt(0).lt(1).default(0.2),
  seed: z.int().min(0).default(0),
  purpose: z.enum(['training', 'evaluation']).default('training'),
  unreadable: z.enum(['fail', 'skip']).default('fail'),
  slices: sliceRules.optional(),
});

export type ImageFolderOptions = Omit<z.input<typeof dataOptions>, 'slices'> & { slices?: SliceRules };

/**
 * Reads a tree of images: `train/<class>/*` with `val/<class>/*` and maybe `test/<class>/*`, or `<class>/*` alone. Splits are
 * known by their usual names in any case: train, training; val, valid, validation, dev, eval, evaluation; test, testing,
 * heldout; `train_images` and `Test Set` too. Folders below a class belong to it. Where there is no `val`, a seeded share
 * of every class is split off train, at least one image of every class that has two. Hidden files and other extensions are
 * passed over. A folder that is alone in `dir` and holds folders is read in its place. `warnings` tells of all of these.
 *
 * @param options `validation`: share split off where there is no `val`, default 0.2; `seed`: of that split, default 0;
 * `purpose`: `training` (default), or `evaluation` for what a model is only measured on: no split and no class needs to be there
 * that is not, nothing is split off, and images without a split are `test`; `unreadable`: `fail` (default), or `skip` where who
 * reads the images shall leave out missing files too; `slices`: rules `[{ site: 'pattern' }]` on the path below `dir`, or a function,
 * {@link SliceRules}; default none
 * @throws TorchgraftError `FILE_NOT_FOUND` for no such folder or a broken link; IMAGE_UNREADABLE for a pipe or device;
 * `DATA_INVALID` for no images, names that may be splits, and to train one class only, a class without training images, or a
 * class in `val` or `test` that train does not have
 */
export async function imageFolder(
  dir: string,
  options: ImageFolderOptions = {},
): Promise<ImageDataset<'single-label'>> {
  if (typeof dir !== 'string' || dir === '') throw invalidType('imageFolder: expected the path of a folder.');
  const checked = checkOptions(dataOptions, options, 'imageFolder');
  const warnings: string[] = [];
  const roots = await findRoots(dir, checked.purpose, warnings);
  const tree = new Tree();
  for (const root of roots) await tree.read(root);
  const { found, classes } = tree;
  if (found.length === 0) throw nothingFound(dir, roots, tree);
  warnings.push(...tree.warnings());
  const slices = readSlices(dir, found, checked.slices);
  for (const [index, values] of (slices ?? []).entries()) (found[index] as FoundSample).slices = values;
  const names = [...classes.keys()].sort(compare);
  return assemble(dir, found, names, checked, warnings, {
    why: (name) => classes.get(name)?.passed.why() ?? '',
  });
}

/** What was found of a class, in all splits. */
interface ClassFolder {
  passed: PassedOver;
  /** Images that lie in the class folder itself. */
  direct: number;
  /** Names of the folders in it that hold images. */
  folders: Set<string>;
}

/** What the class folders hold. */
class Tree {
  readonly found: FoundSample[] = [];
  readonly classes = new Map<string, ClassFolder>();
  /** Outside the class folders. */
  readonly #passed = new PassedOver();

  async read({ directory, prefix, split }: Root): Promise<void> {
    this.#passed.outside += directory.images;
    for (const name of directory.folders) {
      const folder = this.classes.get(name) ?? { passed: new PassedOver(), direct: 0, folders: new Set() };
      this.classes.set(name, folder);
      const path = join(directory.path, name);
      const before = this.found.length;
      await this.#collect(path, `${prefix}${name}`, { className: name, split }, folder.passed);
      for (const sample of this.found.slice(before)) {
        const below = sample.name.slice(`${prefix}${name}/`.length);
        const end = below.indexOf('/');
        if (end < 0) folder.direct++;
        else folder.folders.add(below.slice(0, end));
      }
    }
  }

  /** Of all that was read. */
  get passed(): PassedOver {
    const all = new PassedOver();
    all.add(this.#passed);
    for (const { passed } of this.classes.values()) all.add(passed);
    return all;
  }

  warnings(): string[] {
    return [...this.passed.warnings(), ...this.#alikeFolders()];
  }

  /** Adds the images of one class. Linked files count; linked folders below a class do not, so that no loop can be. */
  async #collect(
    path: string,
    name: string,
    of: Pick<FoundSample, 'className' | 'split'>,
    passed: PassedOver,
  ): Promise<void> {
    for (const entry of await listEntries(path)) {
      const next = join(path, entry.name);
      if (isHidden(entry.name)) passed.hidden++;
      else if (entry.isDirectory()) await this.#collect(next, `${name}/${entry.name}`, of, passed);
      else if (isImageName(entry.name)) this.found.push({ path: next, name: `${name}/${entry.name}`, ...of });
      else passed.addFile(entry.name);
    }
  }

  /** Folders that hold the same folders are often no classes, but splits or sites of other names. */
  #alikeFolders(): string[] {
    const folders = [...this.classes.values()];
    const [first] = folders;
    if (folders.length < 2 || folders.some(({ direct }) => direct > 0)) return [];
    const shared = [...(first as ClassFolder).folders].filter((name) =>
      folders.every((folder) => folder.folders.has(name)),
    );
    if (shared.length < 2) return [];
    return [
      `${[...this.classes.keys()].join(', ')} are taken for classes, and each holds the folders ${shared.join(', ')}. If those are ` +
        'the classes, name the splits train, val and test, or read one of the folders alone.',
    ];
  }
}

function nothingFound(dir: string, roots: readonly Root[], { passed, classes }: Tree): Error {
  const direct = roots.reduce((sum, { directory }) => sum + directory.images, 0);
  if (direct > 0) {
    return invalid(
      `${dir}: no images found in class folders; ${images(direct)} ${direct === 1 ? 'lies' : 'lie'} directly in ` +
        `${roots.map(({ directory }) => directory.path).join(', ')}. Expected a folder for each class, or a manifest that gives each ` +
        'image its label.',
    );
  }
  const empty =
    classes.size > 0 ? `The folders ${[...classes.keys()].join(', ')} are empty.` : 'It is empty.';
  return invalid(`${dir}: no images found. ${passed.why() || empty}`);
}
