import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  type FeatureIdentity,
  featureCachePath,
  featureIdentityText,
  featureLabel,
} from '../src/feature-cache.js';
import { planCacheFolder } from '../src/plan-cache.js';

/** A plausible identity; `prefix` tells one from another. */
export function makeIdentity(prefix: string, model = 'net.pt'): FeatureIdentity {
  return {
    model,
    prefix,
    preprocessing: { size: 96, mean: [0, 0, 0] },
    crossings: [{ layer: 'layer3', shape: [64], dtype: 'float32' }],
  };
}

/**
 * Writes a file of features as the native store lays it out (native/feature-store.test.ts has the store itself write
 * one), with checksums of zero: only listings read it.
 *
 * @returns its path
 */
export function writeFeatures(identity: FeatureIdentity, rows: number, lastUsed = new Date()): string {
  const rowBytes = 256;
  const fixed = Buffer.alloc(36);
  const [text, label] = [featureIdentityText(identity), featureLabel(identity)].map((part) =>
    Buffer.from(part),
  );
  fixed.write('torchgraft feat\n', 'latin1');
  fixed.writeUInt32LE(1, 16);
  fixed.writeUInt32LE(text?.length ?? 0, 20);
  fixed.writeUInt32LE(label?.length ?? 0, 24);
  fixed.writeBigInt64LE(BigInt(rowBytes), 28);
  const body = Buffer.alloc(8 + rows * (40 + rowBytes));
  const path = featureCachePath(identity);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, Buffer.concat([fixed, text as Buffer, label as Buffer, body]));
  utimesSync(path, lastUsed, lastUsed);
  return path;
}

/** Writes a file of 7 bytes where a plan would be; only listings look at it. */
export function writePlan(name: string, lastUsed = new Date()): string {
  const path = join(planCacheFolder(), `${name}.json`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '{ "a"}\n');
  utimesSync(path, lastUsed, lastUsed);
  return path;
}

export const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);
