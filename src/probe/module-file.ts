import { storedZip } from './stored-zip.js';

/** A float32 parameter of a module that is written by hand. */
export interface ModuleParameter {
  name: string;
  values: Float32Array;
  shape: readonly number[];
}

/** A TorchScript module without submodules: its class, parameters and the lines of its methods. */
export interface ModuleSource {
  /** Name of its class. */
  name: string;
  parameters: readonly ModuleParameter[];
  /** Methods, indented by two spaces, as the serialised code of a module has them; `self` is `__torch__.<name>`. */
  methods: string;
}

/** The bytes of a TorchScript file of one small module, which `loadModel` opens as any other. */
export function moduleFile({ name, parameters, methods }: ModuleSource): Uint8Array {
  const folder = name.toLowerCase();
  const text = (path: string, content: string) => ({ name: `${folder}/${path}`, data: Buffer.from(content) });
  return storedZip([
    ...parameters.map(({ values }, at) => ({ name: `${folder}/data/${at}`, data: bytesOf(values) })),
    { name: `${folder}/data.pkl`, data: pickleModule(name, parameters) },
    text('code/__torch__.py', classOf(name, parameters, methods)),
    { name: `${folder}/constants.pkl`, data: Buffer.from('\x80\x02).', 'latin1') },
    text('version', '3\n'),
    text('byteorder', 'little'),
  ]);
}

function classOf(name: string, parameters: readonly ModuleParameter[], methods: string): string {
  const listed = parameters.map((parameter) => `"${parameter.name}", `).join('');
  const typed = parameters.map((parameter) => `  ${parameter.name} : Tensor\n`).join('');
  const head = `class ${name}(Module):\n  __parameters__ = [${listed}]\n  __buffers__ = []\n`;
  return `${head}${typed}  training : bool\n${methods}`;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Opcodes of Python's pickle protocol 2: pickletools.dis shows what they make. */
function pickleModule(name: string, parameters: readonly ModuleParameter[]): Uint8Array {
  const state = parameters.flatMap((parameter, at) => [
    string(parameter.name),
    tensor(String(at), parameter.shape),
  ]);
  return Buffer.concat([
    Buffer.from(`\x80\x02c__torch__\n${name}\n)\x81}(`, 'latin1'),
    ...state,
    ...[string('training'), Buffer.from('\x89', 'latin1')],
    Buffer.from('ub.', 'latin1'),
  ]);
}

/** torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, requires_grad, OrderedDict()). */
function tensor(key: string, shape: readonly number[]): Uint8Array {
  const length = shape.reduce((a, b) => a * b, 1);
  const strides = shape.map((_, at) => shape.slice(at + 1).reduce((a, b) => a * b, 1));
  return Buffer.concat([
    Buffer.from('ctorch._utils\n_rebuild_tensor_v2\n((', 'latin1'),
    ...[
      string('storage'),
      Buffer.from('ctorch\nFloatStorage\n'),
      string(key),
      string('cpu'),
      integer(length),
    ],
    Buffer.from('tQ', 'latin1'),
    ...[integer(0), tuple(shape), tuple(strides)],
    Buffer.from('\x88ccollections\nOrderedDict\n)RtR', 'latin1'),
  ]);
}

function tuple(values: readonly number[]): Uint8Array {
  return Buffer.concat([Buffer.from('('), ...values.map(integer), Buffer.from('t')]);
}

/** BINUNICODE. */
function string(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  const head = Buffer.from('X\0\0\0\0', 'latin1');
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** BININT. */
function integer(value: number): Uint8Array {
  const bytes = Buffer.from('J\0\0\0\0', 'latin1');
  bytes.writeInt32LE(value, 1);
  return bytes;
}
