/** Archives taken apart and put together again, truthfully or not, for the tests of damaged and hostile files. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** One file of an archive. What is given beside name and data is what the directory says instead of the truth. */
export interface Entry {
  name: string;
  data: Uint8Array;
  deflate?: boolean;
  crc?: number;
  size?: number;
  storedSize?: number;
  /** The place of its header. */
  offset?: number;
  /** The name in its own header. */
  localName?: string;
  flags?: number;
  method?: number;
  /** Of DOS: 0x10 marks a folder. */
  attributes?: number;
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

function crc32(data: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of data) value = (table[(value ^ byte) & 0xff] as number) ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

function numbers(...fields: [value: number, width: 2 | 4][]): Buffer {
  const bytes = Buffer.alloc(fields.reduce((sum, [, width]) => sum + width, 0));
  let at = 0;
  for (const [value, width] of fields) {
    if (width === 2) bytes.writeUInt16LE(value, at);
    else bytes.writeUInt32LE(value >>> 0, at);
    at += width;
  }
  return bytes;
}

/** An archive with right checksums, unless an entry says otherwise. `count`: how many the end says there are. */
export function writeZip(
  entries: readonly Entry[],
  lies: { count?: number; directorySize?: number } = {},
): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const stored = entry.deflate ? deflateRawSync(entry.data, { level: 9 }) : Buffer.from(entry.data);
    const common = numbers(
      [20, 2],
      [entry.flags ?? 0, 2],
      [entry.method ?? (entry.deflate ? 8 : 0), 2],
      [0, 4],
      [entry.crc ?? crc32(entry.data), 4],
      [entry.storedSize ?? stored.length, 4],
      [entry.size ?? entry.data.length, 4],
    );
    const name = Buffer.from(entry.name);
    const local = Buffer.from(entry.localName ?? entry.name);
    const header = Buffer.concat([
      numbers([0x04034b50, 4]),
      common,
      numbers([local.length, 2], [0, 2]),
      local,
    ]);
    directory.push(
      Buffer.concat([
        numbers([0x02014b50, 4], [20, 2]),
        common,
        numbers([name.length, 2], [0, 2], [0, 2], [0, 2], [0, 2], [entry.attributes ?? 0, 4]),
        numbers([entry.offset ?? offset, 4]),
        name,
      ]),
    );
    parts.push(header, stored);
    offset += header.length + stored.length;
  }
  const listed = Buffer.concat(directory);
  const count = lies.count ?? entries.length;
  const size = lies.directorySize ?? listed.length;
  const end = numbers([0x06054b50, 4], [0, 4], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2]);
  return Buffer.concat([...parts, listed, end]);
}

/** The entries of an archive, inflated. */
export function readZip(bytes: Buffer): Entry[] {
  const end = bytes.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  let at = bytes.readUInt32LE(end + 16);
  return Array.from({ length: bytes.readUInt16LE(end + 10) }, () => {
    const [method, stored, nameLength] = [at + 10, at + 20, at + 28].map((place, index) =>
      index === 1 ? bytes.readUInt32LE(place) : bytes.readUInt16LE(place),
    ) as [number, number, number];
    const header = bytes.readUInt32LE(at + 42);
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    const from = header + 30 + bytes.readUInt16LE(header + 26) + bytes.readUInt16LE(header + 28);
    const raw = bytes.subarray(from, from + stored);
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
    return { name, data: Buffer.from(method === 8 ? inflateRawSync(raw) : raw) };
  });
}

/** The same archive with some of its files replaced (by the end of their names), or left out (undefined). */
export function replaced(bytes: Buffer, changes: Record<string, Uint8Array | string | undefined>): Buffer {
  const entries = readZip(bytes).flatMap((entry) => {
    const ending = Object.keys(changes).find((name) => entry.name.endsWith(`/${name}`));
    if (ending === undefined) return [entry];
    const data = changes[ending];
    return data === undefined ? [] : [{ ...entry, data: Buffer.from(data as string) }];
  });
  return writeZip(entries);
}

/** Bytes of a text in which every character is one. */
export const latin1 = (text: string) => Buffer.from(text, 'latin1');

const emptyModule = latin1('\x80\x02c__torch__\nM\n)\x81}(X\x08\0\0\0training\x89ub.');

/** A TorchScript file of one class `M` without parameters: its code, and what else differs from an honest one. */
export function scriptFile(
  code: string,
  {
    pickle = emptyModule,
    constants = latin1('\x80\x02).'),
    more = [],
  }: { pickle?: Uint8Array; constants?: Uint8Array; more?: Entry[] } = {},
): Buffer {
  const file = (name: string, data: Uint8Array): Entry => ({ name: `m/${name}`, data });
  return writeZip([
    file('data.pkl', pickle),
    file('code/__torch__.py', Buffer.from(code)),
    file('constants.pkl', constants),
    file('version', latin1('3\n')),
    file('byteorder', latin1('little')),
    ...more,
  ]);
}

/** The class `M`, whose forward has these lines, each indented by four spaces, and gives x back. */
export function classOf(lines: string): string {
  const head = 'class M(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n';
  return `${head}  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n${lines}    return x\n`;
}

/** As emptyModule, with one more attribute, `a`: opcodes that make its value. */
export function pickleWith(value: string): Buffer {
  return latin1(`\x80\x02c__torch__\nM\n)\x81}(X\x08\0\0\0training\x89X\x01\0\0\0a${value}ub.`);
}
