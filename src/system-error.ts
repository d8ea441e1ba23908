/** What the operating system refused. */
export interface SystemError {
  /** Such as ENOSPC. */
  code: string;
  /** What Node did: open, mkdir, write, ... */
  call: string;
  path: string | undefined;
  /** In the system's words: `no space left on device`. */
  reason: string;
}

/** The parts of an error that a call of the operating system gave; undefined for any other. */
export function asSystemError(error: unknown): SystemError | undefined {
  const { code, syscall, path, message } = (error ?? {}) as NodeJS.ErrnoException;
  if (typeof code !== 'string' || typeof syscall !== 'string' || typeof message !== 'string')
    return undefined;
  const [, reason = message] = /^[A-Z0-9_]+: (.*?)(?:, [a-z_]+(?: '.*')?)?$/s.exec(message) ?? [];
  return { code, call: syscall, path, reason };
}

/** The same as a sentence that names the file, and what to do about it. */
export function explainSystemError({ code, call, path, reason }: SystemError): string {
  const what = `${verbs[call] ?? 'use'} ${path ?? 'a file'}`;
  const advice = advices[code];
  return `Cannot ${what}: ${reason}.${advice ? ` ${advice}` : ''}`;
}

const verbs: Record<string, string> = {
  open: 'open',
  read: 'read',
  write: 'write',
  fsync: 'write',
  ftruncate: 'write',
  mkdir: 'make the folder',
  mkdtemp: 'make the folder',
  scandir: 'list the folder',
  opendir: 'list the folder',
  stat: 'look at',
  lstat: 'look at',
  access: 'look at',
  rename: 'move',
  unlink: 'remove',
  rm: 'remove',
  rmdir: 'remove',
};

const space = 'Make room on that disk, or name a folder on another one.';
const permission = 'Check the permissions, or name another place.';
const limit = 'Too many files are open at once: raise the limit, for example with `ulimit -n 4096`.';

const advices: Record<string, string> = {
  ENOSPC: space,
  EDQUOT: space,
  EFBIG: 'The file is larger than the system allows: see `ulimit -f`.',
  EACCES: permission,
  EPERM: permission,
  EROFS: 'Name a place on a file system that can be written.',
  EISDIR: 'A folder is there; give the path of a file.',
  ENOTDIR: 'A part of that path is a file, not a folder.',
  EEXIST: 'Something is there already; name another place.',
  EMFILE: limit,
  ENFILE: limit,
  ENAMETOOLONG: 'Give a shorter path.',
};
