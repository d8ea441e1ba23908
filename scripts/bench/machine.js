import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';

/** What the figures were measured on. */
export function describeMachine() {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    processors: availableParallelism(),
    kernels: readKernels(),
    bfloat16: readBfloat16(),
    memoryGb: Math.round(totalmem() / 1e9),
    system: `${process.platform}-${process.arch} ${release()}`,
    node: process.version,
  };
}

/** The processor's bfloat16 instructions. */
export const readBfloat16 = () => readFlags().filter((flag) => /^(avx512_bf16|amx_bf16|bf16)$/.test(flag));

// In a process of its own: a child's peak memory starts at what its parent had, so this one stays small.
function readKernels() {
  const addon = JSON.stringify(new URL('../../lib/addon.js', import.meta.url).href);
  const script = `import { loadAddon } from ${addon}; console.log(loadAddon().info().cpuCapability)`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).trim();
}

function readFlags() {
  const file = '/proc/cpuinfo';
  if (!existsSync(file)) return [];
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync(file, 'utf8'));
  return line ? line[1].split(' ') : [];
}

/** Load averages over 1, 5 and 15 minutes. */
export const readLoad = () => loadavg().map((load) => Number(load.toFixed(2)));

/** Seconds that all processors together were busy, and were there, since the machine started. */
export function readProcessors() {
  const sums = { busy: 0, total: 0 };
  for (const { times } of cpus()) {
    const all = Object.values(times).reduce((sum, time) => sum + time, 0) / 1000;
    sums.total += all;
    sums.busy += all - times.idle / 1000;
  }
  return sums;
}

/** Share of the processors that programs take while the bench only waits: what others take. */
export async function measureOthers(seconds = 2) {
  const before = readProcessors();
  await wait(seconds * 1000);
  const after = readProcessors();
  return (after.busy - before.busy) / (after.total - before.total);
}
