import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { invalidValue, TorchgraftError } from '../errors.js';
import { requireWritableFile, requireWritableFolder } from '../writable.js';

/** What is to become of an earlier run. */
export interface OutFlags {
  overwrite?: boolean | undefined;
  /** Undefined where a command cannot go on with one. */
  resume?: boolean | undefined;
}

/** `--overwrite`, of every command that leaves files. */
export const overwriteOption = ['--overwrite', 'replace what an earlier run left there'] as const;

/**
 * Looks at the folder that results go to, before anything is loaded.
 *
 * @param marks names of what tells of an earlier run
 * @throws FILE_UNWRITABLE where it cannot be written to, or holds an earlier run that is neither resumed nor overwritten
 */
export async function checkOutFolder(
  folder: string,
  marks: readonly string[],
  { overwrite, resume }: OutFlags,
): Promise<void> {
  if (folder === '') throw invalidValue('--out is empty. Name a folder.');
  if (overwrite && resume) throw invalidValue('Give either --resume or --overwrite.');
  await requireWritableFolder(folder);
  const found = marks.filter((name) => existsSync(join(folder, name)));
  if (found.length === 0 || overwrite || resume) return;
  const goOn = resume === undefined ? '' : '--resume to go on with it, or ';
  throw new TorchgraftError(
    'FILE_UNWRITABLE',
    `${folder} holds an earlier run (${found.join(', ')}). Name another folder with --out, or add ${goOn}` +
      '--overwrite to replace it.',
  );
}

/** The same of one file. @throws FILE_UNWRITABLE */
export async function checkOutFile(path: string, { overwrite }: OutFlags): Promise<void> {
  if (path === '') throw invalidValue('--out is empty. Name a file.');
  await requireWritableFolder(dirname(path));
  if (existsSync(dirname(path))) await requireWritableFile(path);
  if (overwrite || !existsSync(path)) return;
  throw new TorchgraftError(
    'FILE_UNWRITABLE',
    `${path} is there already. Name another file with --out, or add --overwrite to replace it.`,
  );
}

/** Removes what an earlier run left, so that nothing of it stands beside the new one. */
export async function removeEarlier(folder: string, files: readonly string[]): Promise<void> {
  for (const name of files) await rm(join(folder, name), { recursive: true, force: true });
}
