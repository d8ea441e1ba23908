/** Looking at a model without running it, and refusing to open one that would run code or reach files. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { inspectModelFile, loadModel } from '../../src/index.js';
import { lines, torchgraft } from '../command-line.js';
import { pathOf } from '../native/fixtures.js';
import { classOf, pickleWith, scriptFile } from './archives.js';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/files/${name}`, import.meta.url));
const loading = { device: 'cpu', threads: 1 } as const;
const assets = fileURLToPath(new URL('../../assets/backbone.pt', import.meta.url));

/** `M`, whose __setstate__ has these lines. */
function restoring(lines: string): Buffer {
  const head = 'class M(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n  a : int\n';
  const states =
    '  def __getstate__(self: __torch__.M) -> Tuple[int, bool]:\n    return (1, False)\n' +
    `  def __setstate__(self: __torch__.M,\n    state: Tuple[int, bool]) -> NoneType:\n${lines}` +
    '    self.a = 1\n    self.training = False\n    return None\n';
  const forward = '  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    return x\n';
  return scriptFile(head + states + forward, {
    pickle: Buffer.from('\x80\x02c__torch__\nM\n)\x81K\x01\x89\x86b.', 'latin1'),
  });
}

t.test('an honest model: what it holds, in the words of loadModel', async (t) => {
  const found = await inspectModelFile(assets);
  await using model = await loadModel(assets, { ...loading, safe: true });
  const { parameters, buffers, modules } = await model.summary();
  t.match(found, { kind: 'torchscript', problem: null, runsWhenOpened: [], reaches: [], card: undefined });
  const shapes = (list: { name: string; shape: number[]; dtype: string }[]) =>
    Object.fromEntries(list.map(({ name, shape, dtype }) => [name, `${dtype} ${shape}`]));
  t.same(shapes(found.tensors), shapes([...parameters, ...buffers]));
  const types = new Set(found.moduleClasses.map((name) => name.slice(name.lastIndexOf('.') + 1)));
  t.same([...types].sort(), [...new Set(modules.map(({ type }) => type))].sort());
  t.ok(found.operators.includes('aten::conv2d'));
  t.equal(found.bytes, readFileSync(assets).length);
  t.ok(found.records.some(({ name }) => name.endsWith('data.pkl')));
  t.same(await inspectModelFile(readFileSync(assets)), found, 'from bytes');
});

t.test('a saved model shows its card', async (t) => {
  await using model = await loadModel(pathOf('residual'), loading);
  const file = join(t.testdir(), 'model.pt');
  const sizes = { size: 8, resize: 8, crop: 'center', interpolation: 'bilinear' } as const;
  const preprocessing = { ...sizes, mean: [0, 0, 0], std: [1, 1, 1] } as const;
  const card = {
    format: 1,
    classes: ['a', 'b', 'c', 'd', 'e'],
    preprocessing,
    provenance: {},
    metrics: {},
  } as const;
  await model.save(file, structuredClone(card) as never);
  t.same((await inspectModelFile(file)).card, card);
});

t.test('a damaged model: what is wrong, and what can still be told', async (t) => {
  const bytes = readFileSync(assets);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
  const found = await inspectModelFile(bytes);
  t.match(found, { kind: 'torchscript', problem: /damaged: the bytes of its record .* are not those/ });
  t.ok(found.records.length > 0);
});

t.test('code that runs when a model is opened is told, not run, and refused with `safe`', async (t) => {
  const file = join(t.testdir(), 'written-by-setstate');
  const bytes = restoring(`    torch.save(torch.ones([1]), "${file}")\n`);
  const found = await inspectModelFile(bytes);
  t.match(found, { problem: null, runsWhenOpened: ['M'], reaches: ['aten::save'] });
  await t.rejects(loadModel(bytes, { ...loading, safe: true }), {
    code: 'MODEL_UNREADABLE',
    message: /would run code of its own when it is opened: __setstate__ of M/,
  });
  t.notOk(existsSync(file), 'nothing ran');
  await using model = await loadModel(bytes, loading);
  t.ok(existsSync(file), `without it ${model.origin.name} does`);
});

const opened = ['restoring.pt', 'quantised.pt', 'odds.pt', 'traced.pt'];
t.test('models of PyTorch: those that run nothing are opened', async (t) => {
  const outcomes = await Promise.all(
    opened.map((name) =>
      loadModel(fixture(name), { ...loading, safe: true }).then(
        async (model) => {
          await model.dispose();
          return 'opens';
        },
        (error) => error.message as string,
      ),
    ),
  );
  t.match(outcomes, [/__setstate__ of Restoring/, 'opens', 'opens', 'opens']);
});

const reachingCode: Record<string, [lines: string, reaches: RegExp]> = {
  'an operator': ['    torch.save(x, "f")\n', /aten::save/],
  'one behind another name': ['    t = torch\n    t.save(x, "f")\n', /aten::save/],
  'one as a value': ['    write = torch.save\n    write(x, "f")\n', /aten::save/],
  'one of its first argument': ['    y = "f".from_file(True, 4)\n', /aten::from_file/],
  'one over two lines': ['    torch.\\\nsave(x, "f")\n', /aten::save/],
  'one within brackets': ['    (torch\n  .save)(x, "f")\n', /aten::save/],
  'one by its name in a text': ['    getattr(torch, "save")(x, "f")\n', /aten::save/],
  'one by its name in escapes': ['    getattr(torch, "s\\x61ve")(x, "f")\n', /hidden/],
  'one by its name in parts': ['    getattr(torch, "sa" "ve")(x, "f")\n', /hidden/],
  'a collective operation': ['    y = ops.c10d.allreduce_(x)\n', /c10d::allreduce_/],
  'memory of libtorch': ['    y = ops.inductor._reinterpret_tensor(x)\n', /inductor::_reinterpret_tensor/],
  'a call of another process': ['    y = rpc_async("worker", f, (x,))\n', /prim::rpc_async/],
  'an object of libtorch': [
    '    y = __torch__.torch.classes.dist_rpc.WorkerInfo("a", 1)\n',
    /dist_rpc\.WorkerInfo/,
  ],
};

for (const [name, [code, reaches]] of Object.entries(reachingCode)) {
  t.test(`${name} is found in code`, async (t) => {
    const bytes = scriptFile(classOf(code));
    t.match((await inspectModelFile(bytes)).reaches.join(), reaches);
    await t.rejects(loadModel(bytes, { ...loading, safe: true }), {
      code: 'MODEL_UNREADABLE',
      message: /With `safe`/,
    });
  });
}

t.test('names alone are no operators', async (t) => {
  const code = classOf(
    '    y = "torch.save(x)" # torch.save(x)\n    saved = x\n    z = getattr(self, "training")\n',
  );
  t.same((await inspectModelFile(scriptFile(code))).reaches, []);
  await using model = await loadModel(scriptFile(code), { ...loading, safe: true });
  t.ok(model);
});

t.test('torchgraft inspect --safe', async (t) => {
  const file = join(t.testdir(), 'm.pt');
  writeFileSync(file, restoring('    torch.save(torch.ones([1]), "f")\n'));
  const { code, stdout } = await torchgraft(['inspect', '--safe', file]);
  t.equal(code, 0);
  t.match(stdout, /^kind +torchscript$/m);
  t.match(stdout, /^opening +runs code: M$/m);
  t.match(stdout, /^reaches +aten::save$/m);
  const [json] = lines((await torchgraft(['inspect', '--safe', '--json', assets])).stdout);
  t.match(json, { kind: 'torchscript', problem: null, runsWhenOpened: [], reaches: [] });
  const other = await torchgraft(['inspect', '--safe', fixture('net.onnx')]);
  t.match(other.stdout, /^kind +onnx$[\s\S]*^problem +.*an ONNX model/m);
});

t.test('misuse', async (t) => {
  await t.rejects(inspectModelFile(5 as never), { code: 'INVALID_TYPE' });
  await t.rejects(loadModel(assets, { safe: 1 as never }), { code: 'INVALID_TYPE' });
  const text = join(t.testdir(), 'pickle.pt');
  writeFileSync(text, scriptFile(classOf(''), { pickle: pickleWith('N') }));
  t.match(await inspectModelFile(text), { kind: 'torchscript', problem: null });
});
