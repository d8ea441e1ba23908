import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const root = fileURLToPath(new URL('../..', import.meta.url));

export const compiler = process.env.CXX || 'c++';

/** False in a package without compiler. */
export function hasCompiler(): boolean {
  return spawnSync(compiler, ['--version']).status === 0;
}

/** Compiles feature-store.cc into `folder`, with memory and undefined behaviour watched where the compiler can. */
export function compileDriver(folder: string): string {
  const program = join(folder, 'feature-store');
  const binding = join(root, 'binding');
  // What knows no libtorch.
  const parts = ['feature_file.cc', 'feature_store.cc'];
  const sources = [
    ...parts.map((name) => join(binding, name)),
    join(root, 'test', 'native', 'feature-store.cc'),
  ];
  const watched = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
  let errors = '';
  for (const more of [watched, []]) {
    const args = ['-std=c++20', '-Wall', '-Wextra', '-Werror', ...more, ...sources, '-o', program];
    const { status, stderr } = spawnSync(compiler, args, { encoding: 'utf8' });
    if (status === 0) return program;
    errors += stderr;
  }
  throw new Error(`${compiler} failed:\n${errors}`);
}

/** Where a store keeps its rows; sizes in bytes. */
export interface Place {
  path: string;
  identity?: string;
  label?: string;
  rowBytes?: number;
  memoryBytes?: number;
  fileBytes?: number;
}

export interface State {
  rows: number;
  fileSize: number;
  memorySize: number;
  problem: string;
}

export interface Read {
  found: number;
  good: number;
  damaged: number;
  /** Must be 0: rows that were given out and are not what was put in. */
  wrong: number;
}

/** One process with a feature store. */
export class Driver {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exit: Promise<unknown[]>;

  /** `uid`: as which user it runs. */
  constructor(program: string, { uid }: { uid?: number } = {}) {
    this.#child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'], ...(uid ? { uid } : {}) });
    this.#child.stdin?.on('error', () => {});
    this.#exit = once(this.#child, 'exit');
    const input = this.#child.stdout as NodeJS.ReadableStream;
    this.#lines = createInterface({ input })[Symbol.asyncIterator]();
  }

  async send<Answer = Record<string, unknown>>(command: string): Promise<Answer> {
    this.#child.stdin?.write(`${command}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the driver ended at: ${command}`);
    return JSON.parse(value) as Answer;
  }

  open(place: Place): Promise<State> {
    const { path, identity = 'whose', label = '', rowBytes = 100 } = place;
    const { memoryBytes = 0, fileBytes = 2 ** 30 } = place;
    return this.send(`open ${path} ${identity} ${rowBytes} ${memoryBytes} ${fileBytes} ${label}`);
  }

  /** Puts images `first` to `first + count` in, `batch` at a time; returns how many have a row. */
  async append(first: number, count: number, batch = 16): Promise<number> {
    return (await this.send<{ stored: number }>(`append ${first} ${count} ${batch}`)).stored;
  }

  /** Looks the images up, reads those found and compares every byte. */
  read(first: number, count: number): Promise<Read> {
    return this.send(`read ${first} ${count}`);
  }

  state(): Promise<State> {
    return this.send('state');
  }

  /** Ends the process; its exit code. */
  async end(): Promise<number | null> {
    this.#child.stdin?.end();
    return (await this.#exit)[0] as number | null;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exit;
  }
}

/** Bytes of the rows that tests use, of a record with one, and of the header of a file of identity `whose`. */
export const rowBytes = 100;
export const recordBytes = 40 + rowBytes;
export const headerBytes = 36 + 'whose'.length + 8;

/** What {@link Driver.read} answers when all `count` images are found and right. */
export const allGood = (count: number): Read => ({ found: count, good: count, damaged: 0, wrong: 0 });

/** Drivers of one program, and files in one folder. */
export class Bench {
  readonly program: string;
  readonly #folder: string;
  #files = 0;

  constructor(program: string, folder: string) {
    this.program = program;
    this.#folder = folder;
  }

  newPath(): string {
    return join(this.#folder, `${this.#files++}.features`);
  }

  newDriver(): Driver {
    return new Driver(this.program);
  }

  /** A driver that must end well. */
  async withDriver(t: Test, work: (driver: Driver) => Promise<void>): Promise<void> {
    const driver = this.newDriver();
    await work(driver);
    t.equal(await driver.end(), 0, 'ended well');
  }

  /** A file with rows of images 0 to `count`. */
  async makeFile(t: Test, count: number, path = this.newPath()): Promise<string> {
    await this.withDriver(t, async (driver) => {
      await driver.open({ path });
      t.equal(await driver.append(0, count), count);
    });
    return path;
  }
}
