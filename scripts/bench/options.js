// What a bench takes: each says its options as `{ name: count(3) }`; here they are read, refused and explained.

/** Anything that can be told apart from a mistake of the bench itself: the caller's. */
export class WrongUsage extends Error {}

export const text = (otherwise) => ({ otherwise, read: (_, given) => given });

export const texts = (...otherwise) => ({ otherwise, read: (_, given) => given.split(',') });

export const count = (otherwise, least = 1) => ({
  otherwise,
  read: (name, given) => readCount(name, given, least),
});

export const counts = (...otherwise) => ({
  otherwise,
  read: (name, given) => given.split(',').map((part) => readCount(name, part, 1)),
});

export const seconds = (otherwise) => ({
  otherwise,
  read(name, given) {
    if (Number(given) > 0) return Number(given);
    throw new WrongUsage(`--${name} expects seconds above 0; ${given} came.`);
  },
});

export const flag = () => ({ otherwise: false, isFlag: true });

function readCount(name, given, least) {
  const value = Number(given);
  if (given.trim() !== '' && Number.isSafeInteger(value) && value >= least) return value;
  throw new WrongUsage(`--${name} expects whole numbers from ${least}; ${given} came.`);
}

/** One line each, in the order of the help. */
const meanings = {
  model: 'name of a model of the shared data, or a .pt file; several for predict, with commas',
  images: 'name of a folder of class folders of the shared data, or a path; several for accuracy',
  strategy: 'what learns: head, last:K or full; several, with commas',
  retain: 'folders of images on which retention is measured, with commas',
  variants: 'which of its variants; several, with commas',
  tables: 'which of its tables; several, with commas',
  amounts: 'training images of each class, or all; several, with commas',
  most: 'images of each split, at most',
  copies: 'copies planted of each kind',
  labels: 'per cent of the training labels that are made wrong',
  epochs: 'epochs of a run',
  'peer-epochs': 'epochs of PyTorch at its defaults, whose times are then scaled to --epochs',
  batch: 'images a batch; several where the default shows several',
  precision: "of ours (and of the peer's in step); several where the default shows several",
  views: 'augmented views of an image of ours; several for accuracy, live for new ones in each epoch',
  seeds: 'runs of each variant, with seeds from 0',
  from: 'first seed, where not 0',
  threads: 'of torch and of decoding, on both sides; several for loader',
  workers: "the peer's loader processes",
  rounds: 'turns of each side that count',
  warmup: 'turns of each side before them; steps in step',
  steps: 'steps a turn',
  seconds: 'a turn',
  clients: 'requests under way at a time; several, with commas',
  count: 'images of each size; of each class in domain',
  size: 'side of the images, pixels',
  peer: 'run PyTorch in channels-last beside ours',
};

/** The chosen benches' options, checked. `given` holds texts and true by name. */
export function readOptions(benches, given) {
  for (const name of Object.keys(given)) {
    if (benches.some(({ options }) => name in options)) continue;
    const names = benches.map((bench) => bench.name).join(', ');
    throw new WrongUsage(`--${name} is none of the options of ${names}.`);
  }
  return benches.map(({ options }) =>
    Object.fromEntries(
      Object.entries(options).map(([name, { otherwise, isFlag, read }]) => {
        if (given[name] === undefined) return [name, otherwise];
        return [name, isFlag ? true : read(name, given[name])];
      }),
    ),
  );
}

/** For parseArgs: all names that any bench takes. */
export function optionTypes(benches) {
  const all = benches.flatMap(({ options }) => Object.entries(options));
  return Object.fromEntries(all.map(([name, { isFlag }]) => [name, { type: isFlag ? 'boolean' : 'string' }]));
}

export function makeUsage(benches) {
  const indent = ' '.repeat(10);
  const listed = benches.map(({ name, about, options }) => {
    const defaults = Object.entries(options)
      .filter(([, { otherwise }]) => otherwise !== undefined && otherwise !== false)
      .map(([option, { otherwise }]) => `--${option} ${otherwise}`);
    const others = Object.keys(options)
      .filter((option) => options[option].otherwise === undefined || options[option].otherwise === false)
      .map((option) => `[--${option}]`);
    return `${name.padEnd(12)}${about}\n${indent}${[...defaults, ...others].join(' ')}`;
  });
  const explained = Object.entries(meanings).map(([name, meaning]) => `--${name.padEnd(14)}${meaning}`);
  return `npm run bench -- [name ...] [options]        all benches unless some are named; defaults in their lines

  ${[...listed, ...explained].join('\n').replaceAll('\n', '\n  ')}
  --${'out'.padEnd(14)}file for every figure, as JSON; default: bench-results/<names>-<time>.json

PYTHON names a Python with torch, torchvision, numpy, pillow and onnx; TORCHGRAFT_PEERS and TORCHGRAFT_SHARED_DATA the
shared folders.`;
}
