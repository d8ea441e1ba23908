import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { compare } from '../data/dataset.js';

/** Whether a text has what stands for several names: `*`, `?`, `[ab]` or `{a,b}`. */
export function isGlob(text: string): boolean {
  return /[*?[{]/.test(text);
}

/**
 * The files whose paths fit a pattern, sorted: `*` and `?` within a name, `[a-c]` and `[!a-c]` for a character, `{a,b}` for
 * either, and a name `**` for folders of any depth. Names that begin with a point fit patterns alone that do so too; linked folders
 * are not entered by `**`. Where a shell has expanded it, there is nothing left to do here.
 */
export async function filesLike(pattern: string): Promise<string[]> {
  const slashed = process.platform === 'win32' ? pattern.replaceAll('\\', '/') : pattern;
  const found = new Set<string>();
  for (const one of alternatives(slashed)) {
    const isAbsolute = one.startsWith('/');
    const names = one.split('/').filter((name) => name !== '' && name !== '.');
    for (const path of await walk(isAbsolute ? '/' : '', names)) found.add(path);
  }
  return [...found].sort(compare);
}

/** `a{b,c}` as `ab` and `ac`. */
function alternatives(pattern: string): string[] {
  const braces = /^(.*?)\{([^{}]*,[^{}]*)\}(.*)$/s.exec(pattern);
  if (!braces) return [pattern];
  const [, before, inner, behind] = braces as unknown as [string, string, string, string];
  return inner.split(',').flatMap((part) => alternatives(before + part + behind));
}

/** @param names of the pattern below `folder`, one for each level */
async function walk(folder: string, names: readonly string[]): Promise<string[]> {
  const [name, ...rest] = names;
  if (name === undefined) return [];
  if (name === '**') return walkDeep(folder, rest);
  const paths = isGlob(name)
    ? (await list(folder)).filter(fits(name)).map((own) => join(folder, own))
    : [join(folder, name)];
  if (rest.length > 0) return (await Promise.all(paths.map((path) => walk(path, rest)))).flat();
  const isFile = async (path: string) => (await stat(path).catch(() => undefined))?.isDirectory() === false;
  const files = await Promise.all(paths.map(isFile));
  return paths.filter((_, at) => files[at]);
}

async function walkDeep(folder: string, rest: readonly string[]): Promise<string[]> {
  const here = await walk(folder, rest.length > 0 ? rest : ['*']);
  const entries = await readdir(folder || '.', { withFileTypes: true }).catch(() => []);
  const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'));
  for (const { name } of folders) here.push(...(await walkDeep(join(folder, name), rest)));
  return here;
}

/** Names in a folder; none in what is no folder. */
function list(folder: string): Promise<string[]> {
  return readdir(folder || '.').catch(() => []);
}

function fits(pattern: string): (name: string) => boolean {
  const source = pattern.replace(/\[!?[^\]]+\]|[\s\S]/g, (part) => {
    if (part === '*') return '.*';
    if (part === '?') return '.';
    if (part.length < 2) return part.replace(/[\\^$.*+?()[\]{}|]/, '\\$&');
    const isNot = part[1] === '!';
    return `[${isNot ? '^' : ''}${part.slice(isNot ? 2 : 1, -1).replace(/[\\^[]/g, '\\$&')}]`;
  });
  const expression = new RegExp(`^${source}$`, 's');
  return (name) => expression.test(name) && (pattern.startsWith('.') || !name.startsWith('.'));
}
