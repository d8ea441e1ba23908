import { maskedCrc32c } from './crc32c.js';

/** Protocol buffers' wire types. */
const varintType = 0;
const doubleType = 1;
const bytesType = 2;
const floatType = 5;

/** The event that opens a file: tensorflow.Event { wall_time = 1, file_version = 3 }. */
export function versionEvent(wallTime: number): Buffer {
  return Buffer.concat([double(1, wallTime), bytes(3, Buffer.from('brain.Event:2'))]);
}

/**
 * tensorflow.Event { wall_time = 1, step = 2, summary = 5 } with a Summary { repeated value = 1 } of
 * Value { tag = 1, simple_value = 2 }.
 *
 * @param wallTime seconds since 1970
 */
export function scalarEvent(wallTime: number, step: number, scalars: Record<string, number>): Buffer {
  const values = Object.entries(scalars).map(([tag, value]) =>
    bytes(1, Buffer.concat([bytes(1, Buffer.from(tag)), float(2, value)])),
  );
  // What is 0 is left out, but for members of a oneof, as simple_value is.
  const stepField = step === 0 ? [] : [key(2, varintType), varint(step)];
  return Buffer.concat([double(1, wallTime), ...stepField, bytes(5, Buffer.concat(values))]);
}

/** A TFRecord: length, its checksum, the data, its checksum; little-endian. */
export function tfRecord(data: Uint8Array): Buffer {
  const record = Buffer.alloc(12 + data.length + 4);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  record.set(data, 12);
  record.writeUInt32LE(maskedCrc32c(data), 12 + data.length);
  return record;
}

function key(field: number, type: number): Buffer {
  return varint((field << 3) | type);
}

/** Whole numbers from 0 to 2^53, seven bits a byte, the lowest first. */
function varint(value: number): Buffer {
  const groups: number[] = [];
  let rest = value;
  do {
    groups.push((rest % 128) + (rest >= 128 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.from(groups);
}

function double(field: number, value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeDoubleLE(value);
  return Buffer.concat([key(field, doubleType), buffer]);
}

function float(field: number, value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeFloatLE(value);
  return Buffer.concat([key(field, floatType), buffer]);
}

function bytes(field: number, data: Uint8Array): Buffer {
  return Buffer.concat([key(field, bytesType), varint(data.length), data]);
}
