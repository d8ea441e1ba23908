import { storedZip } from './stored-zip.js';

/** A linear map from d features to `rows` scores: x W^T + b. */
export interface LinearMap {
  /** [rows, d], row-major. */
  weight: Float32Array;
  /** [rows]. */
  bias: Float32Array;
}

const code = `class Linear(Module):
  __parameters__ = ["weight", "bias", ]
  __buffers__ = []
  weight : Tensor
  bias : Tensor
  training : bool
  def forward(self: __torch__.Linear,
    x: Tensor) -> Tensor:
    return torch.linear(x, self.weight, self.bias)
`;

/** The bytes of a TorchScript file whose model is one Linear, so that what is linear is computed natively. */
export function linearFile({ weight, bias }: LinearMap): Uint8Array {
  const rows = bias.length;
  const text = (name: string, content: string) => ({ name: `linear/${name}`, data: Buffer.from(content) });
  return storedZip([
    { name: 'linear/data/0', data: bytesOf(weight) },
    { name: 'linear/data/1', data: bytesOf(bias) },
    { name: 'linear/data.pkl', data: pickleLinear(rows, weight.length / rows) },
    text('code/__torch__.py', code),
    { name: 'linear/constants.pkl', data: Buffer.from('\x80\x02).', 'latin1') },
    text('version', '3\n'),
    text('byteorder', 'little'),
  ]);
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Opcodes of Python's pickle protocol 2: pickletools.dis shows what they make. */
function pickleLinear(rows: number, columns: number): Uint8Array {
  const state = [
    ...[name('weight'), tensor('0', [rows, columns], [columns, 1])],
    ...[name('bias'), tensor('1', [rows], [1])],
    ...[name('training'), Buffer.from('\x89', 'latin1')],
  ];
  return Buffer.concat([
    Buffer.from('\x80\x02c__torch__\nLinear\n)\x81}(', 'latin1'),
    ...state,
    Buffer.from('ub.', 'latin1'),
  ]);
}

/** torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, requires_grad, OrderedDict()). */
function tensor(key: string, shape: number[], strides: number[]): Uint8Array {
  const length = shape.reduce((a, b) => a * b, 1);
  return Buffer.concat([
    Buffer.from('ctorch._utils\n_rebuild_tensor_v2\n((', 'latin1'),
    ...[name('storage'), Buffer.from('ctorch\nFloatStorage\n'), name(key), name('cpu'), integer(length)],
    Buffer.from('tQ', 'latin1'),
    ...[integer(0), tuple(shape), tuple(strides)],
    Buffer.from('\x88ccollections\nOrderedDict\n)RtR', 'latin1'),
  ]);
}

function tuple(values: number[]): Uint8Array {
  return Buffer.concat([Buffer.from('('), ...values.map(integer), Buffer.from('t')]);
}

/** BINUNICODE. */
function name(text: string): Uint8Array {
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
