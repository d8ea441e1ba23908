import type { FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import type { FeatureIdentity } from './feature-cache.js';

/** The start of a file of features, as `binding/feature_file.h` lays it out, with little-endian numbers. */
const magic = 'torchgraft feat\n';
const version = 1;
const fixedBytes = 36;
const checksumBytes = 8;
/** Key and checksum before each row. */
const recordHeadBytes = 40;
const maxTextBytes = 68 * 1024;

const identitySchema = z.object({
  prefix: z.string(),
  preprocessing: z.record(z.string(), z.unknown()),
  crossings: z.array(z.object({ layer: z.string(), shape: z.array(z.number()), dtype: z.string() })),
});
const labelSchema = z.object({ model: z.string() });

/** What a listing shows of a file. The native store alone decides whether its rows may be used. */
export interface FeatureHeader {
  identity: FeatureIdentity;
  /** Where the records begin, bytes. */
  bytes: number;
  recordBytes: number;
}

/** Reads the header and closes the file; undefined where it is damaged or of another format. Never throws. */
export async function readFeatureHeader(file: FileHandle): Promise<FeatureHeader | undefined> {
  try {
    const fixed = await readBytes(file, fixedBytes, 0);
    if (fixed.toString('latin1', 0, magic.length) !== magic || fixed.readUInt32LE(16) !== version)
      return undefined;
    const [identityBytes, labelBytes] = [fixed.readUInt32LE(20), fixed.readUInt32LE(24)];
    const rowBytes = Number(fixed.readBigInt64LE(28));
    if (identityBytes + labelBytes > maxTextBytes || rowBytes < 1) return undefined;
    const text = await readBytes(file, identityBytes + labelBytes, fixedBytes);
    const identity = identitySchema.parse(JSON.parse(text.toString('utf8', 0, identityBytes)));
    const label = labelSchema.parse(JSON.parse(text.toString('utf8', identityBytes)));
    return {
      identity: { ...label, ...identity },
      bytes: fixedBytes + text.length + checksumBytes,
      recordBytes: recordHeadBytes + rowBytes,
    };
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

async function readBytes(file: FileHandle, length: number, position: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  if (bytesRead < length) throw new Error('The file is too short.');
  return buffer;
}
