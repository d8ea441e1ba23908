/** Model files that nobody writes by accident, each with the words that it is refused with. */
import { classOf, type Entry, latin1, pickleWith, replaced, scriptFile, writeZip } from './archives.js';

export interface HostileFile {
  bytes: Uint8Array;
  message: RegExp;
}

const forward = classOf('    x = x + 1\n');

const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('latin1');
};
const text = (value: string) => `X${uint32(value.length)}${value}`;
const integer = (value: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return `\x8a\x08${bytes.toString('latin1')}`;
};
const tuple = (...values: string[]) => `(${values.join('')}t`;

export interface TensorClaim {
  key?: string;
  /** How many numbers its storage is said to have. */
  elements?: number;
  offset?: number;
  shape?: number[];
  strides?: number[];
  type?: string;
}

/** Opcodes of a tensor; by default 4 numbers that fill their storage. */
export function tensor({
  key = '0',
  elements = 4,
  offset = 0,
  shape = [4],
  strides = [1],
  type = 'FloatStorage',
}: TensorClaim): string {
  const storage = tuple(text('storage'), `ctorch\n${type}\n`, text(key), text('cpu'), integer(elements));
  const counts = (values: number[]) => tuple(...values.map(integer));
  const arguments_ = tuple(`${storage}Q`, integer(offset), counts(shape), counts(strides), '\x89', 'N');
  return `ctorch._utils\n_rebuild_tensor_v2\n${arguments_}R`;
}

/** `M` with a parameter `a`; 16 bytes of numbers lie in `data/0`. */
export function fileWithTensor(value: string, bytes = Buffer.alloc(16)): Buffer {
  const code = forward.replace('  training', '  a : Tensor\n  training').replace('s__ = []', 's__ = ["a", ]');
  return scriptFile(code, { pickle: pickleWith(value), more: [{ name: 'm/data/0', data: bytes }] });
}

const expressions: Record<string, string> = {
  'nested parentheses': `${'('.repeat(60_000)}x${')'.repeat(60_000)}`,
  'nested lists': `${'['.repeat(20_000)}x${']'.repeat(20_000)}`,
  'a long sum': `x${' + x'.repeat(50_000)}`,
  'powers of powers': `x${' ** x'.repeat(50_000)}`,
  'many negations': `${'not '.repeat(60_000)}True`,
  'a chain of choices': `${'x if True else '.repeat(30_000)}x`,
  'a chain of attributes': `x${'.T'.repeat(50_000)}`,
  'a chain of indices': `x${'[0]'.repeat(50_000)}`,
  'parentheses behind a quote in a text': `["a \\" b", ${'('.repeat(60_000)}x${')'.repeat(60_000)}]`,
};

const nested = (count: number, line: (depth: number) => string) =>
  classOf(
    `${Array.from({ length: count }, (_, depth) => `${' '.repeat(depth + 4)}${line(depth)}\n`).join('')}` +
      `${' '.repeat(count + 4)}x = x + 1\n`,
  );

const deepExpression = /expressions lie in each other over 1000 deep/;
const deepBlocks = /blocks lie in each other over 250 deep/;
const deepValues = /values that lie in each other over 1000 deep/;
const typed = (type: string) => `ctorch.jit._pickle\nrestore_type_tag\n${tuple(']', text(type))}R`;
const doubled = `${']'}q\x00${'h\x00h\x00\x86q\x00'.repeat(40)}`;

function entriesOf(change: (entries: Entry[]) => Entry[], lies = {}): Buffer {
  const names = ['data.pkl', 'code/__torch__.py', 'constants.pkl', 'version', 'extra/a', 'extra/b'];
  const empty = latin1('\x80\x02).');
  const data = [
    pickleWith('N'),
    Buffer.from(forward),
    empty,
    latin1('3\n'),
    Buffer.alloc(99),
    Buffer.alloc(99),
  ];
  const entries = names.map((name, index) => ({ name: `m/${name}`, data: data[index] as Buffer }));
  return writeZip(change(entries), lies);
}

/** An entry whose bytes hold another one, header and all. */
function overlapping(entries: Entry[]): Entry[] {
  const inner = { name: 'm/inner', data: Buffer.alloc(20) };
  const bytes = writeZip([inner]).subarray(0, 30 + inner.name.length + 20);
  const outer = { name: 'm/outer', data: bytes };
  return [...entries, outer, { ...inner, offset: writeZip([...entries, outer]).indexOf(bytes) }];
}

/** The last entry, which nothing refers to, with these lies. */
const lastEntry = (lies: Partial<Entry>) =>
  entriesOf((entries) => [...entries.slice(0, -1), { ...(entries.at(-1) as Entry), ...lies }]);

/** By what is wrong with them. */
export const hostileFiles: Record<string, HostileFile> = {
  ...Object.fromEntries(
    Object.entries(expressions).map(([name, expression]) => [
      name,
      { bytes: scriptFile(classOf(`    y = ${expression}\n`)), message: deepExpression },
    ]),
  ),
  'a nested type': {
    bytes: scriptFile(
      forward.replace('training : bool', `a : ${'List['.repeat(9000)}int${']'.repeat(9000)}`),
    ),
    message: deepExpression,
  },
  'nested ifs': { bytes: scriptFile(nested(3000, () => 'if True:')), message: deepBlocks },
  'nested loops': { bytes: scriptFile(nested(3000, (i) => `for i${i} in range(2):`)), message: deepBlocks },
  'a chain of elif': {
    bytes: scriptFile(classOf(`    if True:\n      x = x\n${'    elif True:\n      x = x\n'.repeat(3000)}`)),
    message: deepBlocks,
  },
  'code without end': {
    bytes: writeZip([
      ...['data.pkl', 'constants.pkl'].map((name) => ({ name: `m/${name}`, data: latin1('\x80\x02N.') })),
      { name: 'm/code/__torch__.py', data: Buffer.alloc(9 << 20, ' '), deflate: true },
      { name: 'm/version', data: latin1('3\n') },
    ]),
    message: /has 9437184 bytes of code/,
  },
  'a zip bomb': {
    bytes: lastEntry({ data: Buffer.alloc(80 << 20), deflate: true }),
    message: /would grow from \d+ to 83886080 bytes/,
  },
  'a record said to be larger than it is': {
    bytes: lastEntry({ deflate: true, size: 1 << 30 }),
    message: /would grow from/,
  },
  'a pickle said to be larger than it is': {
    bytes: lastEntry({ name: 'm/extra.pkl', deflate: true, size: 2 ** 31 }),
    message: /a pickle, m\/extra\.pkl, of 2147483648 bytes/,
  },
  'a record that ends behind the file': {
    bytes: lastEntry({ size: 1e6, storedSize: 1e6 }),
    message: /m\/extra\/b is cut off/,
  },
  'a record of two sizes': { bytes: lastEntry({ size: 50 }), message: /has two sizes/ },
  'a wrong checksum': {
    bytes: lastEntry({ crc: 1 }),
    message: /bytes of its record m\/extra\/b are not those/,
  },
  'another name in the header': {
    bytes: lastEntry({ localName: 'm/extra/c' }),
    message: /two headers .* disagree/,
  },
  'a record marked as a folder': {
    bytes: lastEntry({ attributes: 0x10 }),
    message: /m\/extra\/b is marked as a folder/,
  },
  'an encrypted record': { bytes: lastEntry({ flags: 1 }), message: /an encrypted record/ },
  'an unknown compression': { bytes: lastEntry({ method: 12 }), message: /compressed in a way \(12\)/ },
  'one record twice': { bytes: lastEntry({ name: 'm/extra/a' }), message: /two records of one name/ },
  'records over each other': { bytes: entriesOf(overlapping), message: /lie over each other/ },
  'more records than there are': {
    bytes: entriesOf((entries) => entries, { count: 9 }),
    message: /shorter than its records/,
  },
  'fewer records than there are': {
    bytes: entriesOf((entries) => entries, { count: 5 }),
    message: /other records than it says/,
  },
  'a directory said to be larger': {
    bytes: entriesOf((entries) => entries, { directorySize: 1e6 }),
    message: /directory is said to lie beyond its end/,
  },
  'lists in lists': {
    bytes: scriptFile(forward, { pickle: pickleWith(`${']'.repeat(20_000)}${'a'.repeat(19_999)}`) }),
    message: deepValues,
  },
  'tuples in tuples': {
    bytes: scriptFile(forward, { constants: latin1(`\x80\x02)${'\x85'.repeat(100_000)}.`) }),
    message: deepValues,
  },
  'tuples in tuples of places in the source': {
    bytes: scriptFile(forward, {
      more: [{ name: 'm/code/__torch__.py.debug_pkl', data: latin1(`\x80\x02)${'\x85'.repeat(100_000)}.`) }],
    }),
    message: deepValues,
  },
  'pairs of pairs of pairs': {
    bytes: scriptFile(forward, { pickle: pickleWith(doubled) }),
    message: /refer to each other so often/,
  },
  'a list in itself': {
    bytes: scriptFile(forward, { pickle: pickleWith(']q\x00h\x00a') }),
    message: /lies in itself/,
  },
  'a far slot of the memo': {
    bytes: scriptFile(forward, { pickle: pickleWith('Nr\xf0\xff\xff\xff') }),
    message: /remembers a value in a place that cannot be/,
  },
  'a text longer than the file': {
    bytes: scriptFile(forward, { pickle: pickleWith('X\xf0\xff\xff\x7fa') }),
    message: /is cut off/,
  },
  'a name without an end': {
    bytes: scriptFile(forward, { pickle: latin1('\x80\x02c__torch__') }),
    message: /is cut off/,
  },
  'a key without a value': {
    bytes: scriptFile(forward, { pickle: latin1('\x80\x02(Nd.') }),
    message: /a key without a value/,
  },
  'a nested type in a pickle': {
    bytes: scriptFile(forward, {
      pickle: pickleWith(typed(`${'List['.repeat(9000)}int${']'.repeat(9000)}`)),
    }),
    message: deepExpression,
  },
  'a call of a program': {
    bytes: scriptFile(forward, { pickle: pickleWith(`ctorch.distributed.rpc\nrref\n${tuple('N')}R`) }),
    message: /torch\.distributed\.rpc\.rref/,
  },
  'more numbers than the record has': {
    bytes: fileWithTensor(tensor({ elements: 4000, shape: [4000] })),
    message: /record m\/data\/0 has 16 bytes, where 16000 are said to be/,
  },
  'a tensor beyond its storage': {
    bytes: fileWithTensor(tensor({ shape: [5] })),
    message: /needs more numbers than its storage 0/,
  },
  'a tensor that begins behind its storage': {
    bytes: fileWithTensor(tensor({ offset: 9 })),
    message: /needs more numbers than/,
  },
  'a tensor before its storage': {
    bytes: fileWithTensor(tensor({ offset: -9 })),
    message: /no proper shape/,
  },
  'a negative stride': { bytes: fileWithTensor(tensor({ strides: [-1] })), message: /no proper shape/ },
  'a shape that overflows': {
    bytes: fileWithTensor(tensor({ shape: [2 ** 40, 2 ** 40], strides: [0, 0] })),
    message: /a shape that cannot be/,
  },
  'a number repeated without end': {
    bytes: fileWithTensor(tensor({ shape: [2 ** 40], strides: [0] })),
    message: /repeats 16 bytes to 4398046511104/,
  },
  'a missing record': { bytes: fileWithTensor(tensor({ key: '7' })), message: /record data\/7 is missing/ },
  'a record read again and again': {
    bytes: fileWithTensor(`(${tensor({ elements: 1e6, shape: [1e6] }).repeat(100)}t`, Buffer.alloc(4e6)),
    message: /refers to the same records so often/,
  },
  'a scale for another axis': {
    bytes: fileWithTensor(
      tensor({ type: 'QInt8Storage' })
        .replace('_rebuild_tensor_v2', '_rebuild_qtensor')
        .replace(
          '\x89Nt',
          `${tuple('ctorch\nper_channel_affine\n', tensor({}), tensor({}), integer(3))}\x89Nt`,
        ),
    ),
    message: /no such axis/,
  },
  'a structure of PyTorch 1.0 in itself': {
    bytes: replaced(
      scriptFile(forward, { more: [{ name: 'm/model.json', data: Buffer.from('{"a":'.repeat(50_000)) }] }),
      {
        'constants.pkl': undefined,
      },
    ),
    message: /modules that lie in each other over/,
  },
};
