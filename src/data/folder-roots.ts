import { join } from 'node:path';
import { invalid, type Purpose, type SplitName, splitNames } from './dataset.js';
import { type Directory, lookInto } from './directory.js';
import { images } from './passed-over.js';
import { isGeneric, mentionsSplit, splitOf } from './split-words.js';

/** A folder that holds class folders. */
export interface Root {
  directory: Directory;
  /** Of its images' names. */
  prefix: string;
  /** Undefined where the tree has no splits. */
  split: SplitName | undefined;
}

/** Folders around the data, each the only one in the one above. */
const mostWrapping = 5;

/** A subfolder whose name has to do with splits. */
interface Candidate {
  name: string;
  split: SplitName | undefined;
  directory: Directory;
}

/**
 * The folders of a tree that hold class folders: those of its splits by their usual names, or `dir` itself, or what a
 * folder within it has that is alone there. Whether a name like `test` is a split or a class is told by what it holds:
 * splits hold class folders, classes hold images.
 *
 * @throws DATA_INVALID for names that may be splits and cannot be understood
 */
export async function findRoots(dir: string, purpose: Purpose, warnings: string[]): Promise<Root[]> {
  const { directory, roots } = await findSplits(await lookInto(dir), purpose, warnings);
  if (directory.path !== dir) warnings.unshift(`Reading ${directory.path}, the only folder in ${dir}.`);
  if (roots.length === 0) return [{ directory, prefix: '', split: undefined }];
  const unwrapped: Root[] = [];
  for (const root of roots) unwrapped.push(await unwrapSplit(root, roots, purpose, warnings));
  return unwrapped;
}

/** No roots where there are no splits. */
async function findSplits(
  top: Directory,
  purpose: Purpose,
  warnings: string[],
  depth = 0,
): Promise<{ directory: Directory; roots: Root[] }> {
  const named = top.folders.filter((name) => splitOf(name) || mentionsSplit(name));
  const candidates: Candidate[] = [];
  for (const name of named) {
    candidates.push({ name, split: splitOf(name), directory: await lookInto(join(top.path, name)) });
  }
  const splits = candidates.filter(({ split, directory }) => split && directory.folders.length > 0);
  if (splits.length > 0)
    return { directory: top, roots: rootsOf(top, splits, candidates, purpose, warnings) };
  refuseUnclear(top, candidates, warnings);
  const within = depth < mostWrapping ? await wrapped(top) : undefined;
  if (!within) return { directory: top, roots: [] };
  const found = await findSplits(within, purpose, warnings, depth + 1);
  // One folder in another is a class with a folder of its own.
  return found.roots.length > 0 || found.directory.folders.length > 1 ? found : { directory: top, roots: [] };
}

/** The only thing that a folder holds, where that is a folder of folders. */
async function wrapped({ path, folders, images: direct }: Directory): Promise<Directory | undefined> {
  if (folders.length !== 1 || direct > 0) return undefined;
  const inner = await lookInto(join(path, folders[0] as string));
  return inner.folders.length > 0 && inner.images === 0 ? inner : undefined;
}

/** `train/train/<class>`, or `train/images/<class>`: the folder in the split, unless it is a class. */
async function unwrapSplit(
  root: Root,
  roots: readonly Root[],
  purpose: Purpose,
  warnings: string[],
): Promise<Root> {
  const inner = await wrapped(root.directory);
  const [name = ''] = root.directory.folders;
  const isClassElsewhere = roots.some(
    ({ directory: { folders } }) => folders.length > 1 && folders.includes(name),
  );
  if (!inner || isClassElsewhere) return root;
  // To train, one class is no use.
  const isWrapping = isGeneric(name) || (purpose === 'training' && inner.folders.length > 1);
  if (!isWrapping) return root;
  warnings.push(`Reading ${inner.path}, the only folder in ${root.directory.path}.`);
  return { ...root, directory: inner, prefix: `${root.prefix}${name}/` };
}

function rootsOf(
  top: Directory,
  splits: readonly Candidate[],
  candidates: readonly Candidate[],
  purpose: Purpose,
  warnings: string[],
): Root[] {
  const dir = top.path;
  for (const split of splitNames) {
    const same = candidates.filter((candidate) => candidate.split === split).map(({ name }) => name);
    if (same.length > 1) throw invalid(`${dir} has ${same.join(' and ')}, which mean the same: keep one.`);
  }
  const unclear = candidates.find(({ split, directory }) => !split && directory.folders.length > 0);
  if (unclear) {
    throw invalid(
      `${dir}: ${unclear.name} beside ${namesOf(splits)} looks like a split. Rename it to train, val or test, or move it away.`,
    );
  }
  const others = top.folders.filter(
    (name) => !candidates.some((candidate) => candidate.split && candidate.name === name),
  );
  if (purpose === 'training' && !splits.some(({ split }) => split === 'train'))
    throw withoutTrain(dir, splits, others);
  for (const { name, split, directory } of candidates.filter((one) => one.split && !splits.includes(one))) {
    const what = `${directory.path} has no class folders`;
    if (split !== 'test' && directory.images > 0) {
      throw invalid(`${what}, and holds ${images(directory.images)}: expected ${name}/<class>/*.`);
    }
    warnings.push(`${what}: it is not used.`);
  }
  if (others.length > 0)
    warnings.push(`Folders beside ${namesOf(splits)} are not used: ${others.join(', ')}.`);
  return splits.map(({ name, split, directory }) => ({ directory, prefix: `${name}/`, split }));
}

function withoutTrain(dir: string, splits: readonly Candidate[], others: readonly string[]) {
  const classes = others.length > 0 ? ` If it is a class as ${others[0]} is, rename it.` : '';
  return invalid(
    `${dir} has ${namesOf(splits)} but no train: expected train/<class>/ beside it.${classes} To measure a model, \`eval\` takes it as it is.`,
  );
}

/** Names of splits, none of which holds class folders. */
function refuseUnclear(
  { path, folders }: Directory,
  candidates: readonly Candidate[],
  warnings: string[],
): void {
  const nested = candidates.filter(({ directory }) => directory.folders.length > 0 && directory.images === 0);
  const isAll = candidates.length > 1 && candidates.length === folders.length;
  const unclear = nested.length > 1 ? nested : isAll ? candidates.filter(({ split }) => !split) : [];
  if (unclear.length > 1) {
    throw invalid(
      `${path}: ${namesOf(unclear)} look like splits. Rename them to train, val and test; or, if they are classes, so that no ` +
        'such word is in them.',
    );
  }
  const flat = candidates.filter(({ split, directory }) => split && directory.images > 0);
  if (flat.length === 0) return;
  const isClass = flat.length === 1 && folders.length > 1;
  if (isClass) {
    warnings.push(`${namesOf(flat)} is taken for a class: it holds images and no class folders.`);
    return;
  }
  const held = flat.map(({ name, directory }) => `${images(directory.images)} in ${name}`).join(' and ');
  throw invalid(
    `${path}: ${held}, but no class folders: expected train/<class>/*, or a manifest that gives each image its label.`,
  );
}

function namesOf(candidates: readonly Candidate[]): string {
  return candidates.map(({ name }) => name).join(' and ');
}
