import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { findAddon, readBuildRecord } from './addon.js';
import { isTorchgraftError, messageOf } from './errors.js';
import { cacheDirectory } from './libtorch/cache.js';
import { findLibtorch, type Libtorch } from './libtorch/find.js';
import { platform, readPin } from './libtorch/pin.js';
import type { NativeInfo } from './native.js';
import { packageVersion } from './package.js';

/** Something wrong, and the command or step that mends it. */
export interface DoctorProblem {
  problem: string;
  next: string;
}

/** What torchgraft finds on this machine. */
export interface DoctorReport {
  /** No problem was found. */
  ok: boolean;
  versions: {
    torchgraft: string;
    node: string;
    /** Highest Node-API version this Node has. */
    nodeApi: number;
    /** The system's C library, `glibc 2.36`, or null where it is another. */
    glibc: string | null;
    sharp: string | null;
    libvips: string | null;
  };
  /** `linux-x64` and so on. */
  platform: string;
  /** Null when there is none; `wanted` is the pinned version. */
  libtorch: (Libtorch & { wanted: string }) | null;
  /** Null when the package carries none for this platform; `info` is null when it does not load. */
  addon: { file: string; compiledFor: string | null; info: NativeInfo | null } | null;
  cpu: {
    model: string;
    /** Logical processors. */
    processors: number;
    avx2: boolean;
    avx512: boolean;
    /** Native bfloat16 arithmetic: AVX-512 BF16, AMX BF16 or ARM's. */
    bf16: boolean;
  };
  /** GPUs that libtorch can use; null when the addon does not load. */
  gpus: number | null;
  /** Threads of each pool; null where it is unknown. */
  threads: { torch: number | null; sharp: number | null; libuv: number };
  cache: { directory: string; bytes: number };
  problems: DoctorProblem[];
}

/** Looks at everything torchgraft needs. Never rejects for something missing: that is what the report is for. */
export async function doctor(): Promise<DoctorReport> {
  const problems: DoctorProblem[] = [];
  const libtorch = examine(problems, () => findLibtorch()) ?? null;
  if (!libtorch && problems.length === 0) {
    const problem = `libtorch ${readPin().version} is neither installed nor in the cache`;
    problems.push({ problem, next: 'npx torchgraft setup' });
  }
  const file = examine(problems, findAddon);
  const info = libtorch && file ? await probeAddon(problems) : null;
  const images = await examineSharp(problems);
  const cpu = readCpu();
  if (process.arch === 'x64' && !cpu.avx2) {
    problems.push({
      problem: 'this processor has no AVX2: libtorch runs several times slower',
      next: 'use a machine with AVX2 for training',
    });
  }
  return {
    ok: problems.length === 0,
    versions: {
      torchgraft: packageVersion(),
      node: process.versions.node,
      nodeApi: Number(process.versions.napi),
      glibc: glibcVersion(),
      sharp: images?.versions.sharp ?? null,
      libvips: images?.versions.vips ?? null,
    },
    platform,
    libtorch: libtorch && { ...libtorch, wanted: readPin().version },
    addon: file
      ? { file, compiledFor: info?.compiledFor ?? readBuildRecord(file)?.libtorch ?? null, info }
      : null,
    cpu,
    gpus: info?.gpus ?? null,
    threads: {
      torch: info?.threads ?? null,
      sharp: images?.concurrency() ?? null,
      libuv: Number(process.env.UV_THREADPOOL_SIZE ?? 4),
    },
    cache: { directory: cacheDirectory(), bytes: folderBytes(cacheDirectory()) },
    problems,
  };
}

/** Runs a look-up; a TorchgraftError becomes a problem. Its message ends with the next step. */
function examine<T>(problems: DoctorProblem[], look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (!isTorchgraftError(error)) throw error;
    problems.push(asProblem(error.message));
    return undefined;
  }
}

/** Messages name what is wrong in their first sentence and what to do after it. */
function asProblem(message: string): DoctorProblem {
  const [problem = message, ...rest] = message.split(/(?<=[a-z)`\d])\. (?=[A-Z])/);
  return { problem, next: rest.join('. ') || 'npx torchgraft setup' };
}

/** Loads the addon in a child process: whatever an unfit library does to a process, doctor lives to report it. */
async function probeAddon(problems: DoctorProblem[]): Promise<NativeInfo | null> {
  const addon = JSON.stringify(new URL('./addon.js', import.meta.url).href);
  const code =
    `const { loadAddon } = await import(${addon});` +
    'try { console.log(JSON.stringify({ info: loadAddon().info() })) }' +
    'catch (error) { console.log(JSON.stringify({ failure: error.message })) }';
  const args = [...process.execArgv, '--input-type=module', '--eval', code];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const ending = await new Promise<string>((done) => {
    child.on('error', (error) => done(error.message));
    child.on('close', (status, signal) => done(signal ?? `exit code ${status}`));
  });
  const answer = output.split('\n').find((line) => /^\{"(info|failure)":/.test(line));
  if (answer) {
    const { info, failure } = JSON.parse(answer) as { info?: NativeInfo; failure?: string };
    if (failure) problems.push(asProblem(failure));
    return info ?? null;
  }
  const words = errors.trim().split('\n').at(-1) ?? '';
  problems.push({
    problem: `loading the addon ended a Node process with ${ending}${words && `: ${words}`}`,
    next: 'npm run setup in a clone, or reinstall torchgraft',
  });
  return null;
}

async function examineSharp(problems: DoctorProblem[]) {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    const reason = messageOf(error).trim().split('\n')[0];
    problems.push({
      problem: `sharp does not load: ${reason}`,
      next: 'npm install --include=optional sharp',
    });
    return undefined;
  }
}

function readCpu(): DoctorReport['cpu'] {
  const text = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1]?.trim().split(' ') ?? []);
  return {
    model: cpus()[0]?.model.trim() ?? 'unknown',
    processors: cpus().length,
    avx2: flags.has('avx2'),
    avx512: flags.has('avx512f'),
    bf16: ['avx512_bf16', 'amx_bf16', 'bf16'].some((flag) => flags.has(flag)),
  };
}

function glibcVersion(): string | null {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : null;
}

function folderBytes(directory: string): number {
  if (!existsSync(directory)) return 0;
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return files.reduce((sum, { parentPath, path, name }) => {
    const size = statSync(join(parentPath ?? path, name), { throwIfNoEntry: false })?.size ?? 0;
    return sum + size;
  }, 0);
}

/** The report as a table for people, ending with what is wrong and the next commands. */
export function renderDoctor(report: DoctorReport): string {
  const { versions, libtorch, addon, cpu, threads, cache, problems } = report;
  const yes = (value: boolean, name: string) => `${name} ${value ? 'yes' : 'no'}`;
  const rows: [string, string][] = [
    ['torchgraft', versions.torchgraft],
    [
      'node',
      `${versions.node}, Node-API ${versions.nodeApi}, ${report.platform}, ${versions.glibc ?? 'no glibc'}`,
    ],
    [
      'libtorch',
      libtorch
        ? `${libtorch.version} (${libtorch.flavour}) from ${libtorch.source}, ${libtorch.directory}`
        : 'not found',
    ],
    ['addon', addon ? describeAddon(addon) : 'not found'],
    ['sharp', versions.sharp ? `${versions.sharp}, libvips ${versions.libvips}` : 'does not load'],
    ['cpu', `${cpu.model}, ${cpu.processors} logical processors`],
    ['', [yes(cpu.avx2, 'AVX2'), yes(cpu.avx512, 'AVX-512'), yes(cpu.bf16, 'bf16')].join(', ')],
    ['kernels', addon?.info?.cpuCapability ?? 'unknown'],
    [
      'gpus',
      report.gpus === null
        ? 'unknown'
        : `${report.gpus}${addon?.info?.cuda ? '' : ' (libtorch without CUDA)'}`,
    ],
    ['threads', `torch ${threads.torch ?? '?'}, sharp ${threads.sharp ?? '?'}, libuv ${threads.libuv}`],
    ['cache', `${cache.directory}, ${(cache.bytes / 1e6).toFixed(0)} MB`],
  ];
  const table = rows.map(([name, value]) => `${name.padEnd(12)}${value}`);
  const wrong = problems.map(({ problem, next }) => `✘ ${problem}\n  next: ${next}`);
  return [...table, '', ...(wrong.length ? wrong : ['✔ nothing is wrong'])].join('\n');
}

function describeAddon({ file, compiledFor, info }: NonNullable<DoctorReport['addon']>): string {
  const jpegs = `JPEGs by ${info?.jpeg ? 'libjpeg-turbo' : 'sharp'}`;
  const state = info ? `Node-API ${info.napi}, ${jpegs}` : 'not loaded';
  return `for libtorch ${compiledFor ?? '?'}, ${state}, ${file}`;
}
