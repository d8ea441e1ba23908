/** forward equals PyTorch's stored outputs, for all dtypes and kinds of output. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import type { Tensor, Value } from '../../src/native.js';
import {
  distance,
  expected,
  hex,
  inputsOf,
  isTensor,
  native,
  open,
  pathOf,
  type Stored,
  tensorOf,
} from './fixtures.js';

/** The places where `actual` is not what PyTorch returned. */
function differences(actual: Value | undefined, wanted: Stored, where = 'output'): string[] {
  if (Array.isArray(wanted)) {
    if (!Array.isArray(actual) || actual.length !== wanted.length)
      return [`${where} is not a list of ${wanted.length}`];
    return wanted.flatMap((each, i) => differences(actual[i], each, `${where}[${i}]`));
  }
  if (typeof wanted !== 'object' || wanted === null)
    return actual === wanted ? [] : [`${where} is ${actual}, not ${wanted}`];
  if ('dict' in wanted) {
    const dict = actual as { [key: string]: Value };
    if (Object.keys(dict).join() !== Object.keys(wanted.dict).join()) return [`${where} has other keys`];
    return Object.entries(wanted.dict).flatMap(([key, each]) =>
      differences(dict[key], each, `${where}.${key}`),
    );
  }
  if (!isTensor(actual)) return [`${where} is not a tensor`];
  if (actual.dtype !== wanted.dtype || `${actual.shape}` !== `${wanted.shape}`)
    return [`${where} is ${actual.dtype} [${actual.shape}], not ${wanted.dtype} [${wanted.shape}]`];
  const exact = !wanted.dtype.startsWith('float');
  const same = exact
    ? hex(actual) === hex(tensorOf(wanted))
    : distance(actual, tensorOf(wanted)) <= (wanted.dtype === 'float64' ? 1e-12 : 1e-6);
  return same ? [] : [`${where} has other values`];
}

for (const [name, { output }] of Object.entries(expected.outputs)) {
  t.test(name, async (t) => {
    const model = await open(t, name);
    t.same(differences(await model.forward(inputsOf(name)), output), []);
    t.same(differences(await model.forward(inputsOf(name)), output), [], 'and again');
  });
}

t.test('from bytes as from a path', async (t) => {
  const model = await native.load(readFileSync(pathOf('residual')), { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  const stored = expected.outputs.residual?.output ?? null;
  t.same(differences(await model.forward(inputsOf('residual')), stored), []);
});

t.test('what does not fit is refused with a code, and the model still works', async (t) => {
  const model = await open(t, 'residual');
  const [input] = inputsOf('residual') as [Tensor];
  await t.rejects(model.forward([]), { code: 'SHAPE_MISMATCH' });
  await t.rejects(model.forward([input, input]), { code: 'SHAPE_MISMATCH' });
  await t.rejects(model.forward([{ ...input, shape: [2, 64, 3] }]), { code: 'MODEL_FAILED' });
  const doubles = Float64Array.from(input.data as Float32Array);
  await t.rejects(model.forward([{ ...input, data: doubles, dtype: 'float64' }]), { code: 'MODEL_FAILED' });
  t.throws(() => model.forward([{ ...input, shape: [2, 3, 8, 9] }]), { code: 'SHAPE_MISMATCH' });
  t.throws(() => model.forward([{ ...input, dtype: 'int32' }]), { code: 'INVALID_TYPE' });
  t.same(differences(await model.forward([input]), expected.outputs.residual?.output ?? null), []);
});
