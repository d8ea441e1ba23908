import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from './atomic-file.js';
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

/** Plans kept at most; a few kilobytes each. */
const mostPlans = 200;

/** Folder of proven plans, in the user's cache. */
export function planFolder(): string {
  return join(cacheDirectory(), 'plans');
}

/**
 * The file of a plan. It depends on what the addon hashes (frozen weights, operations, device), on versions and
 * processor, on which images come, and on the precision that is asked for.
 */
export function planPath(key: string, setting: Record<string, unknown>): string {
  const text = JSON.stringify([key, setting, versions(), cpus()[0]?.model ?? '']);
  return join(planFolder(), `${createHash('sha256').update(text).digest('hex')}.json`);
}

/** The plan in a file; undefined where there is none, or none that can be read: it is made anew then. */
export async function recallPlan(path: string): Promise<RememberedPlan | undefined> {
  try {
    return remembered.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** Keeps a proven plan; the oldest go. A cache that cannot be written only costs the next run its trial. */
export async function rememberPlan(path: string, plan: Plan): Promise<void> {
  const kept = remembered.safeParse(plan);
  if (!kept.success) return;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeAtomically(path, (temporary) => writeFile(temporary, JSON.stringify(kept.data)));
    const files = (await readdir(planFolder())).map((name) => join(planFolder(), name));
    if (files.length <= mostPlans) return;
    const ages = await Promise.all(files.map(async (file) => ({ file, time: (await stat(file)).mtimeMs })));
    ages.sort((a, b) => b.time - a.time);
    for (const { file } of ages.slice(mostPlans)) await rm(file, { force: true });
  } catch {
    return;
  }
}
