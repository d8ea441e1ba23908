import { sep } from 'node:path';

/** Enough of a path to find it by: a text that is passed on tells no folders of its writer. */
export function shortened(path: string): string {
  return path.split(sep).slice(-3).join('/');
}

/** `1 pair`, `2 pairs`. */
export function count(found: number, thing: string): string {
  return `${found} ${thing}${found === 1 ? '' : 's'}`;
}
