import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CacheFile,
  type ClearOptions,
  cacheFiles,
  clearCacheFiles,
  removeCacheFile,
} from './cache-files.js';
import { invalidValue } from './errors.js';
import { readFeatureHeader } from './feature-header.js';
import { cacheDirectory } from './libtorch/cache.js';

/** One value that crosses from the frozen prefix to the layers that learn, for one image. */
export interface FeatureCrossing {
  /** Path of the last layer of the prefix that made it. */
  layer: string;
  /** Without the batch dimension. */
  shape: number[];
  dtype: string;
}

/** What cached features depend on, beside the image and its view. */
export interface FeatureIdentity {
  /** Name of the model, for people. Not part of the key: the same trunk under another name has the same features. */
  model: string;
  /** SHA-256 of the prefix's graph, weights and precision, hexadecimal. */
  prefix: string;
  /** How an image becomes the input; plain JSON. */
  preprocessing: Record<string, unknown>;
  /** In the order in which they lie in a row. */
  crossings: FeatureCrossing[];
}

/** A file of cached features. */
export interface FeatureCacheFile extends CacheFile {
  /** Images times views; null where the file is damaged. */
  rows: number | null;
  /** Whose features they are; null where the file is damaged. */
  identity: FeatureIdentity | null;
}

const ending = '.features';
/** Part of the file's name: versions of torchgraft with another format keep their own files. */
const format = 1;
const defaultLimit = 4 * 2 ** 30;

/** The folder of all cached features: `features` in the user's cache. */
export function featureCacheFolder(): string {
  return join(cacheDirectory(), 'features');
}

/**
 * Bytes that the feature cache may take: `TORCHGRAFT_CACHE_BYTES`, else 4 GiB.
 *
 * @throws RangeError (`INVALID_VALUE`) when the variable is not a whole number
 */
export function featureCacheLimit(): number {
  const text = process.env.TORCHGRAFT_CACHE_BYTES?.trim();
  if (!text) return defaultLimit;
  const bytes = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(bytes)) return bytes;
  throw invalidValue(
    `TORCHGRAFT_CACHE_BYTES is "${text}": expected a whole number of bytes, for example ${defaultLimit} for 4 GiB. ` +
      'Unset it for that default.',
  );
}

/** What the native store compares with a file's header: all of the identity that decides the features' values. */
export function featureIdentityText({ prefix, preprocessing, crossings }: FeatureIdentity): string {
  return canonicalJson({ format, prefix, preprocessing, crossings });
}

/** What the native store writes into a new file for {@link featureCacheFiles} to show, at most 4 KiB. */
export function featureLabel({ model }: FeatureIdentity): string {
  return JSON.stringify({ model: model.slice(0, 200) });
}

/** The file that holds the features of this identity, whether it exists or not. */
export function featureCachePath(identity: FeatureIdentity): string {
  const name = createHash('sha256').update(featureIdentityText(identity)).digest('hex');
  return join(featureCacheFolder(), `${name}${ending}`);
}

/**
 * The key of one image in a file of features: SHA-256 of the SHA-256 of the file's bytes and the view.
 *
 * @param digest SHA-256 of the image file's bytes, 32 bytes
 * @param view which pixels of the image are seen, for example the seed and number of an augmented view
 * @returns 32 bytes
 */
export function viewKey(digest: Uint8Array, view: string): Uint8Array {
  return createHash('sha256').update(digest).update(view).digest();
}

/** All files of cached features, the last used first. */
export async function featureCacheFiles(): Promise<FeatureCacheFile[]> {
  return Promise.all((await cacheFiles(featureCacheFolder(), ending)).map(readHeader));
}

/**
 * Removes the files that were not used for longest, until the others take at most `limitBytes`, by default
 * the bound of `TORCHGRAFT_CACHE_BYTES`, else 4 GiB. A file that a run is using may be among them: the run goes on with it, and the disk has
 * its space back when the run ends. What cannot be removed stays.
 *
 * @returns what was removed
 * @throws RangeError (`INVALID_VALUE`) for a negative limit
 */
export async function evictFeatures(limitBytes: number = featureCacheLimit()): Promise<FeatureCacheFile[]> {
  if (!(limitBytes >= 0))
    throw invalidValue(`evictFeatures: \`limitBytes\` is ${limitBytes}: expected at least 0.`);
  // A cache that cannot be read is no reason to end a run.
  const files = await featureCacheFiles().catch(() => []);
  let total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const removed: FeatureCacheFile[] = [];
  for (const file of files.reverse()) {
    if (total <= limitBytes) break;
    // Nor is one that another user owns.
    const isGone = await removeCacheFile(file).then(
      () => true,
      () => false,
    );
    if (!isGone) continue;
    total -= file.bytes;
    removed.push(file);
  }
  return removed;
}

/**
 * Removes all files of cached features, or those that were last used more than `olderThanDays` ago (default 0: all).
 *
 * @returns what was removed
 * @throws TypeError (`INVALID_TYPE`) or RangeError (`INVALID_VALUE`) for the option; what the file system says where a
 * file cannot be removed
 */
export async function clearFeatures(options?: ClearOptions): Promise<FeatureCacheFile[]> {
  return clearCacheFiles(featureCacheFiles, options, 'clearFeatures');
}

async function readHeader(file: CacheFile): Promise<FeatureCacheFile> {
  const header = await open(file.path).then(readFeatureHeader, () => undefined);
  return {
    ...file,
    rows: header ? Math.max(0, Math.floor((file.bytes - header.bytes) / header.recordBytes)) : null,
    identity: header?.identity ?? null,
  };
}

/** JSON with the keys of every object sorted: equal data gives equal text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
