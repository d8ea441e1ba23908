/** One file of an archive. */
export interface ZipEntry {
  name: string;
  data: Uint8Array;
}

/** A ZIP archive of files that are stored, not compressed, as TorchScript's are; below 4 GiB (no ZIP64). */
export function storedZip(entries: readonly ZipEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const { name, data } of entries) {
    const path = Buffer.from(name);
    const common = commonFields(path, data);
    const header = Buffer.concat([uint32(0x04034b50), common, path]);
    // In the directory: made by version 2.0 before, and behind it comment, disk, attributes and place.
    directory.push(
      Buffer.concat([uint32(0x02014b50), uint16(20), common, Buffer.alloc(10), uint32(offset), path]),
    );
    parts.push(header, data);
    offset += header.length + data.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const count = uint16(entries.length);
  const end = [uint32(0x06054b50), Buffer.alloc(4), count, count, uint32(size), uint32(offset), uint16(0)];
  return Buffer.concat([...parts, ...directory, ...end]);
}

/** From the version that is needed to the length of the extra field; dated 1 January 1980. */
function commonFields(path: Uint8Array, data: Uint8Array): Uint8Array {
  const [version, flags, method, time, date] = [20, 0, 0, 0, 0x21].map(uint16) as Uint8Array[];
  const sizes = [uint32(crc32(data)), uint32(data.length), uint32(data.length)];
  return Buffer.concat([
    ...([version, flags, method, time, date] as Uint8Array[]),
    ...sizes,
    uint16(path.length),
    uint16(0),
  ]);
}

function uint16(value: number): Uint8Array {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function uint32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

// node:zlib has it from 20.15 on.
function crc32(data: Uint8Array): number {
  let value = 0xffffffff;
  for (let i = 0; i < data.length; i++) {
    value = (table[(value ^ (data[i] as number)) & 0xff] as number) ^ (value >>> 8);
  }
  return (value ^ 0xffffffff) >>> 0;
}
