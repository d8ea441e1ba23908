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

/**
 * What a .safetensors file holds: tensors that lie one behind the other and cover it, as the format demands.
 *
 * @throws Error that says what is wrong with it where it is none
 */
export function readSafetensors(bytes: Uint8Array): TensorFile {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < 8) throw new Error('it is shorter than its header.');
  const length = Number(file.readBigUInt64LE());
  if (length > longestHeader || 8 + length > file.length) throw new Error('it is shorter than its header.');
  const header: unknown = JSON.parse(file.toString('utf8', 8, 8 + length));
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw new Error('its header is no object.');
  }
  const values = file.subarray(8 + length);
  const { __metadata__: metadata = {}, ...entries } = header as Record<string, unknown>;
  const places = Object.entries(entries).map(([name, entry]) => placeOf(name, entry));
  requireCovered(places, values.length);
  return {
    tensors: new Map(places.map((place) => [place.name, readTensor(place, values)])),
    metadata: textsOf(metadata),
  };
}

interface Place {
  name: string;
  kind: (typeof arrays)[keyof typeof arrays];
  shape: number[];
  start: number;
  end: number;
}

function placeOf(name: string, entry: unknown): Place {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const kind = Object.hasOwn(arrays, String(dtype)) ? arrays[dtype as keyof typeof arrays] : undefined;
  if (!kind || !isCounts(shape) || !isCounts(offsets) || offsets.length !== 2) {
    throw new Error(`its tensor ${name} is not one of ours.`);
  }
  const [start = 0, end = 0] = offsets;
  const size = shape.reduce((product, side) => product * side, kind.make.BYTES_PER_ELEMENT);
  if (end - start !== size)
    throw new Error(`its tensor ${name} has ${end - start} bytes in place of ${size}.`);
  return { name, kind, shape, start, end };
}

/** Bytes of no tensor, or of two, would be a place to hide something in, or a sign of damage. */
function requireCovered(places: Place[], length: number): void {
  let covered = 0;
  for (const { name, start, end } of [...places].sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (start !== covered) throw new Error(`its tensor ${name} does not begin where the one before it ends.`);
    covered = end;
  }
  if (covered < length) throw new Error(`its last ${length - covered} bytes belong to no tensor.`);
  if (covered > length) throw new Error(`it is cut off: ${covered - length} bytes are missing.`);
}

function readTensor({ kind, shape, start, end }: Place, values: Buffer): Tensor {
  // A copy: it begins at an address that its elements can have.
  const { buffer } = Uint8Array.from(values.subarray(start, end));
  return { data: new kind.make(buffer), shape, dtype: kind.dtype };
}

function textsOf(metadata: unknown): Record<string, string> {
  const entries = typeof metadata === 'object' && metadata !== null ? Object.entries(metadata) : undefined;
  if (entries?.every((entry): entry is [string, string] => typeof entry[1] === 'string')) {
    return Object.fromEntries(entries);
  }
  throw new Error('its metadata is no text by name.');
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
