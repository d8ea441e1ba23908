import { readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { readSafetensors, type TensorFile, writeSafetensors } from '../archive/safetensors.js';
import { isSealIntact, seal, sealKey, unsealed } from '../archive/seal.js';
import { writeAtomically } from '../atomic-file.js';
import { type ModelCard, parseCard } from '../card.js';
import { invalidValue, isTorchgraftError, messageOf, TorchgraftError } from '../errors.js';
import type { HeadOptions, Model } from '../model.js';
import type { AdapterDescription, ModelDescription, Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import { ownerOf } from '../patterns.js';
import { requireFile } from '../regular-file.js';
import { hashBase } from './base.js';

/** The names that PEFT gives tensors of an adapter. */
const prefix = 'base_model.model.';
const metadataKey = 'torchgraft.adapter';

const contentSchema = z.object({
  /** 2: with a checksum of the file; 1, without, is of version 0.1. */
  format: z.union([z.literal(1), z.literal(2)]),
  /** {@link hashBase}. */
  base: z.string().regex(/^[0-9a-f]{64}$/),
  rank: z.int().min(1),
  alpha: z.number().gt(0),
  layers: z.array(z.string()).min(1),
  /** Names of the head's parameters and buffers. */
  head: z.array(z.string()),
  /** How to make the head; null where the base has it. */
  newHead: z.record(z.string(), z.unknown()).nullable(),
  card: z.unknown().optional(),
});
type Content = z.output<typeof contentSchema>;

/**
 * Writes the adapters of a model, its head and its card into one .safetensors file, atomically, with the SHA-256 of the
 * frozen weights that they belong to. Tensors are named and shaped as PEFT's (`base_model.model.<layer>.lora_A.weight`).
 *
 * @example
 * await fineTune(model, data, { strategy: 'lora' });
 * await saveAdapter(model, 'flowers.safetensors');
 * // elsewhere, with the same pretrained model:
 * const model = await loadModel('pretrained.pt');
 * await loadAdapter(model, 'flowers.safetensors');
 *
 * @throws INVALID_VALUE when the model has no adapters; FILE_NOT_FOUND, BUSY, DISPOSED
 */
export async function saveAdapter(model: Model, path: string): Promise<void> {
  const summary = await model.summary();
  const { adapters } = summary;
  const [first] = adapters;
  if (!first) {
    throw invalidValue(
      'saveAdapter: the model has no adapters. Fine-tune it with strategy `lora`, and save before they are merged.',
    );
  }
  const head = headNames(summary, model);
  const content: Content = {
    ...{ format: 2, base: await hashBase(model, head), rank: first.rank, alpha: first.scale * first.rank },
    ...{ layers: adapters.map(({ layer }) => layer), head, newHead: model.newHead?.options ?? null },
    card: model.card,
  };
  const tensors = new Map<string, Tensor>();
  for (const adapter of adapters) {
    const [down, up] = await callNative(() => model.native.values([adapter.down, adapter.up]));
    const shapes = peftShapes(summary, adapter);
    tensors.set(peftName(adapter.layer, 'lora_A'), { ...(down as Tensor), shape: shapes.down });
    tensors.set(peftName(adapter.layer, 'lora_B'), { ...(up as Tensor), shape: shapes.up });
  }
  for (const name of head) {
    const [value] = await callNative(() => model.native.values([name]));
    tensors.set(`${prefix}${name}`, value as Tensor);
  }
  const metadata = { format: 'pt', [sealKey]: unsealed, [metadataKey]: JSON.stringify(content) };
  const bytes = writeSafetensors({ tensors, metadata });
  await seal(bytes);
  await writeAtomically(path, (temporary) => writeFile(temporary, bytes));
}

/**
 * Gives a pretrained model the adapters, the head and the card of a file of {@link saveAdapter}. `save` then writes the
 * fine-tuned model; fineTune with the same `lora` options goes on from it. When it fails, the model is as it was.
 *
 * @throws ADAPTER_MISMATCH when the file was made for other weights; ADAPTER_INVALID for a damaged file, or one that does not
 * fit; FILE_NOT_FOUND; INVALID_VALUE when the model has adapters; NO_HEAD, BUSY, DISPOSED
 */
export async function loadAdapter(model: Model, path: string): Promise<void> {
  await requireFile(path, 'adapter');
  const { content, tensors, card } = await parse(path, await readFile(path));
  const before = await model.summary();
  if (before.adapters.length > 0) {
    throw invalidValue('loadAdapter: the model has adapters. Load it again, or call mergeAdapters() first.');
  }
  if ((await hashBase(model, content.head)) !== content.base) {
    throw new TorchgraftError(
      'ADAPTER_MISMATCH',
      `${path} belongs to another base model: its frozen weights are not those of ${model.origin.name}. Load the model ` +
        `that the adapter was trained on${baseName(card)}.`,
    );
  }
  const { rank, alpha, layers, head } = content;
  const tensor = (name: string) => tensorOf(path, tensors, name);
  const adapters = {
    adapters: { layers, rank, scale: alpha / rank, seed: 0 },
    down: layers.map((layer) => asMatrix(tensor(peftName(layer, 'lora_A')))),
    up: layers.map((layer) => asMatrix(tensor(peftName(layer, 'lora_B')))),
    ...{ names: head, values: head.map((name) => tensor(`${prefix}${name}`)) },
  };
  try {
    await model.putAdapters(adapters, newHeadOf(before, content, tensors, card));
  } catch (error) {
    throw misfit(path, error);
  }
  if (card) model.card = card;
}

/** The head that the file's values are of, to be made anew unless the model has one like it. */
function newHeadOf(
  { parameters, buffers }: ModelDescription,
  { head, newHead }: Content,
  tensors: TensorFile['tensors'],
  card: ModelCard | undefined,
): HeadOptions | undefined {
  const shapes = new Map([...parameters, ...buffers].map(({ name, shape }) => [name, shape.join()]));
  const isThere = head.every((name) => shapes.get(name) === tensors.get(`${prefix}${name}`)?.shape.join());
  if (isThere || !newHead) return undefined;
  const size = card?.preprocessing.size;
  return { ...(newHead as unknown as HeadOptions), ...(size ? { imageSize: size } : {}) };
}

/** What the file holds is not the caller's mistake: it was made for this model by its own words. */
function misfit(path: string, error: unknown): unknown {
  const { code, message } = error as { code?: string; message?: string };
  const isOfFile = ['INVALID_TYPE', 'INVALID_VALUE', 'SHAPE_MISMATCH', 'NO_HEAD', 'MODEL_FAILED'].includes(
    code ?? '',
  );
  if (!isOfFile) return error;
  return new TorchgraftError('ADAPTER_INVALID', `${path} does not fit the model that it names: ${message}`, {
    cause: error,
  });
}

/** Of the new head where one was made, else of the layers that make the output; with what normalises its input. */
function headNames({ heads, modules, parameters, buffers }: ModelDescription, model: Model): string[] {
  const owners = new Set(heads.map(({ module }) => module));
  for (const { path, type } of modules) {
    if (type === 'CosineHead' || type === 'Standardiser') owners.add(path);
  }
  const made = new Set(model.newHead?.made.parameters ?? []);
  return [...parameters, ...buffers]
    .map(({ name }) => name)
    .filter((name) => made.has(name) || owners.has(ownerOf(name)));
}

const peftName = (layer: string, part: 'lora_A' | 'lora_B') =>
  `${prefix}${layer === '' ? '' : `${layer}.`}${part}.weight`;

/** PEFT's shapes: those of a convolution's adapter are convolutions, of the layer's kernel and of 1 x 1. */
function peftShapes({ parameters }: ModelDescription, { layer, rank }: AdapterDescription) {
  const name = layer === '' ? 'weight' : `${layer}.weight`;
  const [out = 0, ...rest] = parameters.find((parameter) => parameter.name === name)?.shape ?? [];
  return { down: [rank, ...rest], up: [out, rank, ...rest.slice(1).map(() => 1)] };
}

function asMatrix(tensor: Tensor): Tensor {
  const [rows = 0, ...rest] = tensor.shape;
  return { ...tensor, shape: [rows, rest.reduce((product, size) => product * size, 1)] };
}

function tensorOf(path: string, tensors: TensorFile['tensors'], name: string): Tensor {
  const tensor = tensors.get(name);
  if (tensor) return tensor;
  throw new TorchgraftError(
    'ADAPTER_INVALID',
    `${path} is no adapter of torchgraft: it has no tensor ${name}.`,
  );
}

async function parse(path: string, bytes: Uint8Array) {
  try {
    const { tensors, metadata } = readSafetensors(bytes);
    const isIntact = await isSealIntact(bytes);
    if (isIntact === false) throw new Error('its checksum does not fit. Copy it again.');
    const text = metadata[metadataKey];
    if (text === undefined) throw new Error(`it has no metadata \`${metadataKey}\`.`);
    const content = contentSchema.parse(JSON.parse(text));
    if (content.format === 2 && isIntact === undefined) throw new Error('it has no checksum.');
    const card = content.card === undefined ? undefined : parseCard(content.card);
    for (const layer of content.layers) {
      for (const part of ['lora_A', 'lora_B'] as const) tensorOf(path, tensors, peftName(layer, part));
    }
    for (const name of content.head) tensorOf(path, tensors, `${prefix}${name}`);
    return { content, tensors, card };
  } catch (cause) {
    if (isTorchgraftError(cause)) throw cause;
    const why = messageOf(cause);
    throw new TorchgraftError(
      'ADAPTER_INVALID',
      `${path} is no adapter of torchgraft, or is damaged: ${why}`,
      { cause },
    );
  }
}

function baseName(card: ModelCard | undefined): string {
  const source = card?.provenance.source as { name?: unknown } | undefined;
  return typeof source?.name === 'string' ? `, ${source.name}` : '';
}
