// Loaded by tap before every test file: a user cache of its own, so that no test reads or writes features of the
// user's. libtorch stays where it is.
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { cacheDirectory } from '../lib/libtorch/cache.js';

const prefix = 'torchgraft-test-cache-';

// Processes and worker threads that a test starts inherit the environment.
if (isMainThread && !basename(cacheDirectory()).startsWith(prefix)) {
  const directory = mkdtempSync(join(tmpdir(), prefix));
  symlinkSync(join(cacheDirectory(), 'libtorch'), join(directory, 'libtorch'));
  process.env.TORCHGRAFT_CACHE = directory;
  delete process.env.TORCHGRAFT_CACHE_BYTES;
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
}
// Given relative to the working directory, which the processes that a test starts need not share.
process.execArgv = process.execArgv.filter((argument) => !argument.includes(basename(import.meta.filename)));
