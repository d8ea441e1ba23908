import { webcrypto } from 'node:crypto';

/** The name of a checksum in the metadata of a .safetensors file of ours. */
export const sealKey = 'torchgraft.sha256';

/** What stands in the place of the checksum while it is computed. */
export const unsealed = '0'.repeat(64);

const opening = Buffer.from(`"${sealKey}":"`);

/**
 * Puts the SHA-256 of a file into it: of all its bytes, with zeros where the digits go. The format has no checksum, and of
 * a flipped bit a tensor shows nothing.
 *
 * @param bytes of a file whose metadata has {@link sealKey} with {@link unsealed}; changed in place
 */
export async function seal(bytes: Uint8Array): Promise<void> {
  const place = placeOf(bytes);
  if (place === undefined) throw new Error('The file has no place for its checksum.');
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).write(await digest(bytes), place, 'latin1');
}

/** Whether the checksum in a file is that of its bytes; undefined where it has none. */
export async function isSealIntact(bytes: Uint8Array): Promise<boolean | undefined> {
  const place = placeOf(bytes);
  if (place === undefined) return undefined;
  const copy = Buffer.from(bytes);
  const found = copy.toString('latin1', place, place + unsealed.length);
  copy.write(unsealed, place, 'latin1');
  return (await digest(copy)) === found;
}

/** Where the digits are: in the header, whose length the first 8 bytes say. In texts within it quotes are escaped. */
function placeOf(bytes: Uint8Array): number | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = file.indexOf(opening);
  const place = at + opening.length;
  return at === -1 || place + unsealed.length > file.length ? undefined : place;
}

/** On one of libuv's threads. */
async function digest(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('hex');
}
