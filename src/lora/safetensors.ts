import type { Tensor } from '../native.js';

/** Tensors by name and text by key, as a .safetensors file holds them. */
export interface TensorFile {
  tensors: Map<string, Tensor>;
  metadata: Record<string, string>;
}

const names = {
  float32: 'F32',
  float64: 'F64',
  int64: 'I64',
  int32: 'I32',
  uint8: 'U8',
  bool: 'BOOL',
} as const;
const arrays = {
  F32: { dtype: 'float32', make: Float32Array },
  F64: { dtype: 'float64', make: Float64Array },
  I64: { dtype: 'int64', make: BigInt64Array },
  I32: { dtype: 'int32', make: Int32Array },
  U8: { dtype: 'uint8', make: Uint8Array },
  BOOL: { dtype: 'bool', make: Uint8Array },
} as const;

/** The header may not be longer, by the format's own rule, bytes. */
const longestHeader = 100_000_000;

/** The bytes of a .safetensors file: length of the header (8 bytes, little endian), header as JSON, values. */
export function writeSafetensors({ tensors, metadata }: TensorFile): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { data, shape, dtype }] of tensors) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    header[name] = { dtype: names[dtype], shape, data_offsets: [offset, offset + bytes.length] };
    parts.push(bytes);
    offset += bytes.length;
  }
  // Padded by spaces, so that values begin at a multiple of 8.
  const text = JSON.stringify(header);
  const length = Math.ceil(Buffer.byteLength(text) / 8) * 8;
  const start = Buffer.alloc(8 + length, ' ');
  start.writeBigUInt64LE(BigInt(length));
  start.write(text, 8);
  return Buffer.concat([start, ...parts]);
}

/** What a .safetensors file holds; an Error that says what is wrong with it where it is none. */
export function readSafetensors(bytes: Uint8Array): TensorFile {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < 8) throw new Error('it is shorter than its header.');
  const length = Number(file.readBigUInt64LE());
  if (length > longestHeader || 8 + length > file.length) throw new Error('it is shorter than its header.');
  const header: unknown = JSON.parse(file.toString('utf8', 8, 8 + length));
  if (typeof header !== 'object' || header === null) throw new Error('its header is no object.');
  const values = file.subarray(8 + length);
  const { __metadata__: metadata = {}, ...entries } = header as Record<string, unknown>;
  const tensors = new Map(
    Object.entries(entries).map(([name, entry]) => [name, readTensor(name, entry, values)]),
  );
  return { tensors, metadata: metadata as Record<string, string> };
}

function readTensor(name: string, entry: unknown, values: Buffer): Tensor {
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const kind = arrays[dtype as keyof typeof arrays];
  if (!kind || !isCounts(shape) || !isCounts(offsets))
    throw new Error(`its tensor ${name} is not one of ours.`);
  const [start = 0, end = 0] = offsets;
  const size = shape.reduce((product, side) => product * side, kind.make.BYTES_PER_ELEMENT);
  if (end - start !== size || end > values.length) throw new Error(`its tensor ${name} is cut off.`);
  // A copy: it begins at an address that its elements can have.
  const { buffer } = Uint8Array.from(values.subarray(start, end));
  return { data: new kind.make(buffer), shape, dtype: kind.dtype };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
