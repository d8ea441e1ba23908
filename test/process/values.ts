// Random JavaScript values of every kind, valid requests damaged at one place, and random TorchScript text.
import { images } from './tiny.js';

/** mulberry32: a seed gives the same numbers everywhere. */
export function makeRandom(seed: number) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number) => Math.floor(next() * n);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  return { next, below, pick };
}
export type Random = ReturnType<typeof makeRandom>;

// biome-ignore format: a list
const numbers = [0, -0, 1, 2, 3, 7, 255, 256, 0.5, 1e-9, -1, -2, 65536, 2 ** 31, 2 ** 32, 2 ** 53, 1e30, 1e300, NaN, Infinity, -Infinity];
// biome-ignore format: a list
const strings = ['', 'x', '\0', 'a\0b', '🌱', '\ud800', '__proto__', 'constructor', 'then', 'x'.repeat(5000), '..', '.', '/dev/full', '/dev/null', 'out.pt', 'none/out.pt',
  'fc', 'fc.weight', 'conv', 'conv.weight', 'bn', 'bn.running_mean', 'float32', 'int64', 'bool', 'uint8', 'cpu', 'cuda:0', 'cuda:-1', 'meta', 'torchgraft.json',
  'sgd', 'adam', 'rmsprop', 'mse', 'huber', 'focal', 'bceWithLogits', 'source'];
const arrays = [
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  Int32Array,
  Uint32Array,
  Int16Array,
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
];

function detached(): Float32Array {
  const data = new Float32Array(8);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  return data;
}

/** A typed array whose resizable buffer has shrunk below it, or grown. */
function resized(bytes: number): Float32Array {
  const Buffer = ArrayBuffer as unknown as new (
    length: number,
    options: object,
  ) => ArrayBuffer & { resize(n: number): void };
  const buffer = new Buffer(32, { maxByteLength: 64 });
  const data = new Float32Array(buffer, 0, 8);
  buffer.resize(bytes);
  return data;
}

/** What getters do while native code reads: `act` disposes, calls back, loads, or collects. */
export function makeValues(random: Random, act: () => unknown) {
  const { below, pick } = random;

  /** A plain tensor whose length fits its shape, so that it reaches libtorch. */
  function tensor() {
    const shape = Array.from({ length: below(6) }, () => pick([0, 1, 1, 2, 3, 3, 4, 8, 8]));
    const length = shape.reduce((product, size) => product * size, 1);
    const [dtype, Type] = pick([
      ['float32', Float32Array],
      ['float64', Float64Array],
      ['int64', BigInt64Array],
      ['int32', Int32Array],
      ['uint8', Uint8Array],
      ['bool', Uint8Array],
    ] as const);
    const data = new Type(length);
    for (let i = 0; i < length; i++)
      data[i] = Type === BigInt64Array ? BigInt(below(9) - 2) : pick([0, 1, 2, 3, 200, 255]);
    if (dtype === 'float32' && length > 0 && below(4) === 0) data[0] = pick([NaN, Infinity, 1e38, -1e38]);
    return { data, shape, dtype };
  }

  function trap(value: unknown): unknown {
    return pick([
      () => new Proxy({}, { get: () => act() }),
      () =>
        new Proxy(
          {},
          {
            get: () => {
              throw new Error('trap');
            },
            ownKeys: () => {
              throw 42;
            },
          },
        ),
      () =>
        new Proxy([1, 2, 3], {
          get: (target, name) => (name === 'length' ? pick(numbers) : Reflect.get(target, name)),
        }),
      () =>
        Object.defineProperty({ ...Object(value) }, pick(['data', 'shape', 'dtype', 'kind', 'inputs']), {
          get: () => {
            throw pick([new Error('x'), undefined, Symbol('x'), 7, null]);
          },
        }),
      () =>
        Object.defineProperty({ ...images(1) }, 'dtype', {
          get: () => {
            act();
            return 'float32';
          },
        }),
      () => {
        const honest = images(1);
        return {
          ...honest,
          get shape() {
            structuredClone(honest.data.buffer, { transfer: [honest.data.buffer as ArrayBuffer] });
            return honest.shape;
          },
        };
      },
    ])();
  }

  function anything(depth = 0): unknown {
    const kind = below(depth > 3 ? 9 : 16);
    switch (kind) {
      case 0:
        return undefined;
      case 1:
        return null;
      case 2:
        return below(2) === 0;
      case 3:
      case 4:
        return pick(numbers);
      case 5:
      case 6:
        return pick(strings);
      case 7:
        return pick([
          1n,
          -1n,
          2n ** 64n,
          Symbol('s'),
          Symbol.iterator,
          () => 1,
          class {},
          new Date(),
          /x/,
          new Map(),
          Promise.resolve(),
          new Error('e'),
          globalThis,
        ]);
      case 8:
        return new (pick(arrays))(pick([0, 1, 3, 8]));
      case 9:
        return detached();
      case 10:
        return resized(pick([0, 8, 32, 64]));
      case 11:
        return pick([
          new Float32Array(new SharedArrayBuffer(32)),
          new DataView(new ArrayBuffer(8)),
          new ArrayBuffer(8),
          new SharedArrayBuffer(8),
          Buffer.from('PK\x03\x04'),
        ]);
      case 12:
        return tensor();
      case 13:
        return Array.from({ length: below(5) }, () => anything(depth + 1));
      case 14:
        return Object.fromEntries(
          Array.from({ length: below(4) }, () => [
            pick(['data', 'shape', 'dtype', 'inputs', 'target', 'kind', 'length', '0']),
            anything(depth + 1),
          ]),
        );
      default:
        return trap({});
    }
  }

  /** A copy of a valid request in which one place, found by a random walk, is another value, gone, or a getter. */
  function damaged(value: unknown): unknown {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || below(6) === 0)
      return replacement(value);
    const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
    const name = pick(Object.keys(copy).length > 0 ? Object.keys(copy) : ['0']);
    const old = copy[name];
    const choice = below(12);
    if (choice === 0) delete copy[name];
    else if (choice === 1)
      Object.defineProperty(copy, name, {
        get: () => {
          act();
          return old;
        },
      });
    else copy[name] = damaged(old);
    return copy;
  }

  function replacement(value: unknown): unknown {
    if (below(3) === 0) return anything();
    if (typeof value === 'number') return pick([pick(numbers), value * 2, -value, value + 0.5]);
    if (typeof value === 'boolean') return !value;
    if (typeof value === 'string') return pick([pick(strings), value.slice(1), torchScript()]);
    if (value instanceof Float32Array)
      return pick([value.subarray(1), value.map(() => pick([NaN, 1e38, 0])), new Float64Array(value)]);
    if (value instanceof BigInt64Array) return value.map(() => pick([-1n, 0n, 3n, 2n ** 40n, -(2n ** 63n)]));
    if (value instanceof Int32Array) return value.map(() => pick([-1, 0, 2 ** 31 - 1, -(2 ** 31)]));
    return pick([tensor(), anything(), value]);
  }

  const words = ['output', 'target', 'output', '1', '0', '-1', '2.5', 'None', 'True', 'x', '[]', "'s'"];
  const calls = [
    'mean',
    'sum',
    'abs',
    'exp',
    'log',
    'sqrt',
    'softmax',
    'log_softmax',
    'reshape',
    'transpose',
    'max',
    'size',
    'dim',
    'item',
    'unsqueeze',
    'nonsense',
  ];
  function expression(depth: number): string {
    if (depth > 4) return pick(words);
    switch (below(8)) {
      case 0:
        return `(${expression(depth + 1)} ${pick(['+', '-', '*', '/', '//', '%', '**', '@', '<', '==', 'and', 'is', 'in'])} ${expression(depth + 1)})`;
      case 1:
      case 2:
        return `${expression(depth + 1)}.${pick(calls)}(${pick(['', '1', '0, 1', '[1]', expression(depth + 1)])})`;
      case 3:
        return `torch.${pick([...calls, 'cross_entropy_loss', 'mse_loss', 'nll_loss', 'stack', 'cat'])}(${expression(depth + 1)}, ${expression(depth + 1)})`;
      case 4:
        return `${pick(['-', 'not ', '~'])}${expression(depth + 1)}`;
      case 5:
        return `${expression(depth + 1)}[${pick(['0', '-1', ':', '0:2', '5', 'None', expression(depth + 1)])}]`;
      case 6:
        return `(${expression(depth + 1)} if ${expression(depth + 1)} else ${expression(depth + 1)})`;
      default:
        return pick(words);
    }
  }

  /** Text that compiles, nearly compiles, is nested as deep as it may be, or is noise. */
  function torchScript(): string {
    const deep = 8192;
    return pick([
      () => `def loss(output, target):\n    return ${expression(0)}`,
      () => `def loss(output, target):\n    return (${expression(1)}).mean()`,
      () =>
        `def loss(output, target):\n    x = ${expression(1)}\n    if ${expression(2)}:\n        x = ${expression(2)}\n    return x.sum()`,
      () => `def loss(output, target):\n    return ${'not '.repeat((deep - 60) / 4)}output`,
      () => `def loss(output, target):\n    return output${'.x'.repeat((deep - 60) / 2)}`,
      () => `def loss(output, target):\n    return ${'1 or '.repeat((deep - 60) / 5)}1`,
      () => `def loss(output, target):\n    return ${'1 if 1 else '.repeat((deep - 60) / 12)}1`,
      () => `def loss(output, target):\n    return ${'('.repeat(490)}output${')'.repeat(490)}`,
      () => 'def loss(output, target):\n    return loss(output, target)',
      () => Array.from({ length: below(300) }, () => String.fromCharCode(below(128))).join(''),
      () =>
        pick([
          '',
          'def',
          'def loss(',
          'class X:\n    pass',
          'def loss(output):\n    return output',
          '\0',
          'def loss(output, target):\n    return "',
        ]),
    ])();
  }

  return { anything, damaged, tensor, torchScript };
}
