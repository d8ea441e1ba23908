/** What is given as a model and is none is recognised by its content, with the next step. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { inspectModelFile, loadModel, saveAdapter } from '../../src/index.js';
import { configure, open, pathOf, train } from '../native/fixtures.js';
import { latin1, writeZip } from './archives.js';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/files/${name}`, import.meta.url));

/** Written by PyTorch: the kind, and words of the message. */
const written: Record<string, [kind: string, ...words: RegExp[]]> = {
  'state-dict.pth': [
    'state-dict',
    /weights without their network.*4 tensors.*conv1\.weight/,
    /weights_only=True/,
  ],
  'state-dict.legacy.pth': ['state-dict', /weights without their network.*4 tensors.*conv1\.weight/],
  'training.ckpt': [
    'state-dict',
    /module\.conv1\.weight/,
    /\['state_dict'\]\.items\(\)/,
    /removeprefix\('module\.'\)/,
  ],
  'module.pth': [
    'pickled-module',
    /torch\.save pickled \(__main__\.Net\)/,
    /model = torch\.load\(/,
    /weights_only=False/,
  ],
  'module.legacy.pth': ['pickled-module', /torch\.save pickled \(__main__\.Net\)/],
  'module-in-dict.pt': ['pickled-module', /weights_only=False\)\['model'\]/],
  'tensors.pt': ['pickled-tensors', /holds tensors/, /torch\.jit\.script/],
  'settings.pt': ['pickle', /pickle of Python/, /torch\.jit\.script/],
  'net.onnx': ['onnx', /an ONNX model/, /torchvision or timm/],
  'net.pt2': ['exported-program', /torch\.export/, /torch\.jit\.trace\(program/],
  'package.pt': ['torch-package', /torch\.package/, /torch\.jit\.script/],
  'mobile.ff': ['flatbuffer', /PyTorch Mobile/, /torch\.jit\.script/],
};

/** Made by hand, from what the formats' documents say. */
const made: Record<string, [bytes: Uint8Array | string, kind: string, ...words: RegExp[]]> = {
  'empty.pt': ['', 'empty', /an empty file/, /download it again/],
  'zeros.pt': [Buffer.alloc(70_000), 'zeros', /zeros/, /download it again/],
  'page.pt': ['\n<!DOCTYPE html><html><title>404</title>', 'html', /a web page/, /direct link/],
  'bare-page.pt': ['<head></head><HTML>', 'html', /a web page/],
  'denied.pt': [
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    'xml',
    /XML/,
    /message of the server/,
  ],
  'pointer.pt': [
    'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n',
    'git-lfs',
    /Git LFS/,
    /git lfs pull/,
  ],
  'run.json': ['{"a": 1}', 'json', /JSON/, /model\.pt/],
  'notes.txt': ['not a model\u0007', 'unknown', /no format/],
  'notes-2.txt': ['just words\nof somebody', 'text', /begins with "just words"/],
  'w.safetensors': [
    safetensors('{"fc.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
    'safetensors',
    /weights without their network/,
    /load_file\(/,
  ],
  'cut.safetensors': [safetensors('{"fc.weight":{}', 0).subarray(0, 16), 'safetensors', /cut off/],
  'peft.safetensors': [
    safetensors('{"base.lora_A.weight":{}}', 0),
    'peft-adapter',
    /adapter \(LoRA\)/,
    /merge_and_unload/,
  ],
  'm.tflite': ['\x1c\0\0\0TFL3\0\0\0\0', 'tflite', /TensorFlow Lite/, /torchvision or timm/],
  'm.gguf': ['GGUF\x03\0\0\0', 'gguf', /GGUF/, /cannot be trained/],
  'm.h5': ['\x89HDF\r\n\x1a\n\0\0', 'hdf5', /HDF5/, /Keras/],
  'm.keras': [
    writeZip([
      { name: 'metadata.json', data: latin1('{}') },
      { name: 'model.weights.h5', data: latin1('') },
    ]),
    'keras',
    /Keras/,
  ],
  'frozen.pb': [latin1('\x0a\x14\x0a\x05input\x12\x0bPlaceholder'), 'tensorflow', /TensorFlow/],
  'saved_model.pb': [
    latin1(`\x08\x01\x12\xff\x7f\x0a\x05\x12\x01\xff${'\x01'.repeat(99)}`),
    'tensorflow',
    /TensorFlow/,
  ],
  'bare.onnx': [latin1('\x08\x07\x3a\x02\x0a\x00'), 'onnx', /ONNX/],
  'model.pt.gz': [gzipSync('abc'), 'gzip', /packed file/, /gunzip/],
  'model.tar': [`${'\0'.repeat(257)}ustar`, 'tar', /packed file/, /tar -xf/],
  'download.zip': [
    writeZip([{ name: 'model.pt', data: latin1('abc') }]),
    'zip',
    /zip archive of other files \(model\.pt\)/,
    /Unpack it/,
  ],
  'serve.mar': [
    writeZip([{ name: 'MAR-INF/MANIFEST.json', data: latin1('{}') }]),
    'torchserve',
    /TorchServe/,
    /unzip/,
  ],
  'arrays.npz': [writeZip([{ name: 'a.npy', data: latin1('abc') }]), 'numpy', /NumPy/],
  'photo.jpg': ['\xff\xd8\xff\xe0\0\x10JFIF', 'image', /an image/, /model comes first/],
  'counter.pkl': ['\x80\x04\x95\x05\0\0\0\0\0\0\0N.', 'pickle', /pickle of Python/],
  'bytecode.ptl': [writeZip([{ name: 'm/bytecode.pkl', data: latin1('') }]), 'mobile', /PyTorch Mobile/],
};

function safetensors(header: string, values: number): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, Buffer.from(header), Buffer.alloc(values)]);
}

const messageOf = (source: string | Uint8Array) =>
  loadModel(source, { device: 'cpu' }).then(
    () => 'loads',
    (error) => `${error.code}: ${error.message}`,
  );

t.test('files of PyTorch', async (t) => {
  for (const [name, [kind, ...words]] of Object.entries(written)) {
    const message = await messageOf(fixture(name));
    t.ok(message.startsWith(`MODEL_UNREADABLE: ${fixture(name)} `), name);
    for (const word of words) t.match(message, word, name);
    t.match(await inspectModelFile(fixture(name)), { kind, problem: message.slice(18), records: [] });
    t.match(await messageOf(readFileSync(fixture(name))), /^MODEL_UNREADABLE: The model given as bytes /);
  }
});

t.test('files of others', async (t) => {
  const folder = t.testdir();
  for (const [name, [content, kind, ...words]] of Object.entries(made)) {
    const file = join(folder, name);
    writeFileSync(file, typeof content === 'string' ? latin1(content) : content);
    const message = await messageOf(file);
    t.ok(message.startsWith(`MODEL_UNREADABLE: ${file} `), name);
    for (const word of words) t.match(message, word, name);
    t.match(await inspectModelFile(file), { kind }, name);
  }
});

t.test("torchgraft's own files that are no models", async (t) => {
  const folder = t.testdir();
  const model = await open(t, 'plain');
  await configure(model);
  await train(model, 1);
  const checkpoint = join(folder, 'checkpoint.pt');
  await model.saveCheckpoint(checkpoint, {});
  t.match(await messageOf(checkpoint), /is a checkpoint of a training.*--resume/);
  t.match(await inspectModelFile(checkpoint), { kind: 'checkpoint', problem: null });
  await using adapted = await loadModel(pathOf('plain'), { device: 'cpu' });
  await adapted.addAdapters({ layers: (await adapted.summary()).layers, rank: 1, scale: 1, seed: 0 });
  const adapter = join(folder, 'adapter.safetensors');
  await saveAdapter(adapted, adapter);
  t.match(await messageOf(adapter), /is an adapter of torchgraft.*loadAdapter/);
});

t.test('what is no file is not read', { skip: process.platform === 'win32' && 'no pipes' }, async (t) => {
  const folder = t.testdir();
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  mkdirSync(join(folder, 'run'));
  const refused: Record<string, RegExp> = {
    [pipe]: /pipe is a pipe, not a model file/,
    [join(folder, 'run')]: /run is a folder, not a model file/,
    '/dev/zero': /is a device, not a model file/,
    [join(folder, 'nowhere.pt')]: /^FILE_NOT_FOUND: No model at .*nowhere\.pt\.$/,
    [join(pathOf('plain'), 'inside.pt')]: /No model at/,
    'https://example.org/model.pt': /Download it first/,
  };
  for (const [path, message] of Object.entries(refused)) {
    t.match(await messageOf(path), message);
    await t.rejects(inspectModelFile(path), { code: 'FILE_NOT_FOUND' }, path);
  }
});

t.test('an operator that libtorch does not have is named', async (t) => {
  const message = await messageOf(fixture('nms.pt'));
  t.match(
    message,
    /^MODEL_UNREADABLE: .*nms\.pt uses the operator torchvision::nms, which libtorch does not have/,
  );
  t.match(message, /give an image classes, labels or numbers/);
  t.match(message, /backbone/);
});

t.test('names out of a file cannot move the cursor of a terminal', async (t) => {
  const name = 'm/\u001b[2J\u202eevil';
  const bytes = writeZip([{ name, data: latin1('') }]);
  t.notMatch(await messageOf(bytes), /[\u001b\u202e]/);
  const damaged = writeZip([
    { name: 'm/data.pkl', data: latin1('') },
    { name: 'm/constants.pkl', data: latin1('') },
    { name, data: latin1('a'), crc: 1 },
  ]);
  t.notMatch(await messageOf(damaged), /\u001b/);
});
