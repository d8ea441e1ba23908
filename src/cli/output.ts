import { fstatSync, writeSync } from 'node:fs';
import type { ProgressStream } from '../report/progress.js';
import { visibleJson, visibleLines } from '../report/visible.js';
import { wrap } from '../report/wrap.js';

/**
 * Everything that the command line writes goes through here, so that one place knows what to do when nobody reads any
 * more (`… | head -1`) or a file cannot take it: the lines are lost, and no work is.
 */

type StreamName = 'stdout' | 'stderr';

/** Streams that took something no more. */
const lost = new Set<StreamName>();
let endsWithReader = false;
let hasFailed = false;

/** Lines on standard output for a person. */
export function print(text: string): void {
  write('stdout', `${shaped(text, process.stdout)}\n`);
}

/** One JSON object, a line of its own on standard output. */
export function printJson(value: unknown): void {
  write('stdout', `${visibleJson(value)}\n`);
}

/** Lines on standard error: what is under way, notes and errors. */
export function say(text: string): void {
  write('stderr', `${shaped(text, process.stderr)}\n`);
}

/** Standard error for a progress bar. */
export const progressStream: ProgressStream = {
  write: (text) => write('stderr', text),
  get isTTY() {
    return process.stderr.isTTY;
  },
  get columns() {
    return process.stderr.columns;
  },
};

/** For commander: its texts are wrapped by itself. */
export const helpOutput = {
  writeOut: (text: string) => write('stdout', text),
  writeErr: (text: string) => write('stderr', text),
  outputError: (text: string) => say(text.trimEnd()),
};

/**
 * Listens for readers that go. Call it before anything is written.
 *
 * @param isOutputAll the command's output is all that it does: it ends, with exit code 0, when nobody reads it
 */
export function guardOutput(isOutputAll: boolean): void {
  endsWithReader = isOutputAll;
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].on('error', (error) => onLost(name, error));
  }
}

/** Whether standard output did not take everything although somebody wanted it. */
export function hasOutputFailed(): boolean {
  return hasFailed;
}

function shaped(text: string, { isTTY, columns }: NodeJS.WriteStream): string {
  return wrap(visibleLines(text), isTTY ? columns || 80 : undefined);
}

function write(name: StreamName, text: string): void {
  if (lost.has(name)) return;
  try {
    if (isFile(name)) writeAll(fileNumber[name], Buffer.from(text));
    else process[name].write(text);
  } catch (error) {
    onLost(name, error as NodeJS.ErrnoException);
  }
}

const fileNumber = { stdout: 1, stderr: 2 };

/** Neither a terminal nor a pipe. Node's own stream for those says nothing of a disk that takes a part. */
function isFile(name: StreamName): boolean {
  if (process[name].isTTY) return false;
  const stat = fstatSync(fileNumber[name]);
  return stat.isFile() || stat.isCharacterDevice();
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}

function onLost(name: StreamName, error: NodeJS.ErrnoException): void {
  if (lost.has(name)) return;
  lost.add(name);
  if (isReaderGone(name, error)) {
    if (endsWithReader && name === 'stdout') process.exit(0);
    return;
  }
  if (name === 'stderr') return;
  hasFailed = true;
  say(`error: Standard output cannot be written: ${error.message}. What was to be written there is lost.`);
  process.exitCode = 1;
  if (endsWithReader) process.exit(1);
}

/** The reader of a pipe has ended, or the terminal is closed. */
function isReaderGone(name: StreamName, { code }: NodeJS.ErrnoException): boolean {
  return code === 'EPIPE' || code === 'ECONNRESET' || (code === 'EIO' && process[name].isTTY === true);
}
