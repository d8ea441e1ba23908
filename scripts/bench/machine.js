import { cpus, loadavg, release, totalmem } from 'node:os';
import { loadAddon } from '../../lib/addon.js';

/** What the figures were measured on. */
export function describeMachine() {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    processors: cpus().length,
    kernels: loadAddon().info().cpuCapability,
    memoryGb: Math.round(totalmem() / 1e9),
    system: `${process.platform}-${process.arch} ${release()}`,
    node: process.version,
  };
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
