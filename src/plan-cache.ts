import { createHash } from 'node:crypto';
import { mkdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from './atomic-file.js';
import {
  type CacheFile,
  type ClearOptions,
  cacheFiles,
  clearCacheFiles,
  removeCacheFile,
} from './cache-files.js';
import { fromCheckedJson, toCheckedJson } from './checked-json.js';
import { cacheDirectory } from './libtorch/cache.js';
import type { Plan } from './native.js';
import { versions } from './versions.js';

const trial = z.object({
  variant: z.enum(['fused', 'folded', 'exact']),
  precision: z.enum(['float32', 'bfloat16', 'float16']),
  milliseconds: z.number(),
  outputDifference: z.number().nullable(),
  gradientDifference: z.number().nullable(),
  accepted: z.boolean(),
  failure: z.string(),
});

/** What is kept of a plan: all that a trial has shown. */
const remembered = z.object({
  variant: z.enum(['fused', 'folded', 'exact']),
  precision: z.enum(['float32', 'bfloat16', 'float16']),
  precisionReason: z.string(),
  crossings: z.array(z.object({ shape: z.array(z.int().min(1)), dtype: z.string() })),
  cacheable: z.boolean(),
  prefixFlops: z.number(),
  totalFlops: z.number(),
  trials: z.array(trial),
});

/** What a trial showed of a plan. */
export type RememberedPlan = z.output<typeof remembered>;

/** Proven plans that are kept at most, about a kilobyte each; those that were not used for longest go first. */
export const mostPlans = 1000;
const ending = '.json';

/** The folder of all proven plans: `plans` in the user's cache. */
export function planCacheFolder(): string {
  return join(cacheDirectory(), 'plans');
}

/** All proven plans that are kept, the last used first. */
export async function planCacheFiles(): Promise<CacheFile[]> {
  return cacheFiles(planCacheFolder(), ending);
}

/**
 * Forgets all proven plans, or those that were last used more than `olderThanDays` ago (default 0: all). A run proves
 * its plan anew.
 *
 * @returns what was removed
 * @throws TypeError (`INVALID_TYPE`) or RangeError (`INVALID_VALUE`) for the option; what the file system says where a
 * file cannot be removed
 */
export async function clearPlans(options?: ClearOptions): Promise<CacheFile[]> {
  return clearCacheFiles(planCacheFiles, options, 'clearPlans');
}

/**
 * The file of a plan. It depends on what the addon hashes (weights, operations, device), on versions and processor, and on
 * what it was proven on and for.
 */
export function planPath(key: string, setting: Record<string, unknown>): string {
  const text = JSON.stringify([key, setting, versions(), cpus()[0]?.model ?? '']);
  return join(planCacheFolder(), `${createHash('sha256').update(text).digest('hex')}${ending}`);
}

/** The plan in a file; undefined where there is none, or none that can be read: it is made anew then. */
export async function recallPlan(path: string): Promise<RememberedPlan | undefined> {
  try {
    const { content, isChecked } = fromCheckedJson(await readFile(path, 'utf8'));
    if (!isChecked) return undefined;
    const plan = remembered.parse(content);
    const now = new Date();
    // It goes later than others then; where that cannot be noted it serves all the same.
    await utimes(path, now, now).catch(() => undefined);
    return plan;
  } catch {
    return undefined;
  }
}

/** Keeps a proven plan; of too many the longest unused go. A cache that cannot be written costs the next run its trial. */
export async function rememberPlan(path: string, plan: Plan): Promise<void> {
  const kept = remembered.safeParse(plan);
  if (!kept.success) return;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeAtomically(path, (temporary) => writeFile(temporary, toCheckedJson(kept.data)));
    for (const file of (await planCacheFiles()).slice(mostPlans)) await removeCacheFile(file);
  } catch {
    return;
  }
}
