import { loadAddon } from '../addon.js';
import { cardFile, type ModelCard, readCard } from '../card.js';
import { invalidType } from '../errors.js';
import type { NativeFile } from '../native.js';
import { requireFile } from '../regular-file.js';
import { openingFile, sentenceOf } from './wrong-file.js';

/** What a model file is and holds, told without opening it. */
export interface ModelFileReport {
  /** `torchscript`, `checkpoint`, `state-dict`, `safetensors`, `onnx` and so on; `unknown`. */
  kind: string;
  /** Of a TorchScript file or a checkpoint: what is wrong with it; null where it may be opened. Of any other: what it is, and what to do. */
  problem: string | null;
  /** Size of the file. */
  bytes: number;
  /** What the archive holds; `storedBytes` may be compressed. */
  records: { name: string; bytes: number; storedBytes: number }[];
  /** Parameters and buffers of the module, by name, with dtypes in PyTorch's words. */
  tensors: { name: string; dtype: string; shape: number[] }[];
  /** Classes of the modules, for example `__torch__.torch.nn.modules.conv.Conv2d`. */
  moduleClasses: string[];
  /** Operators that the code names, for example `aten::conv2d`. */
  operators: string[];
  /** Classes whose code runs as soon as the model is opened: those with a `__setstate__`, and libtorch's own in C++. */
  runsWhenOpened: string[];
  /** What the code names that reaches files, other processes or memory, for example `aten::save`. */
  reaches: string[];
  /** Classes, preprocessing, provenance and metrics of a model that torchgraft saved. */
  card: ModelCard | undefined;
}

/**
 * Looks at a model file without opening it: nothing of it runs. Of a TorchScript file it checks what `loadModel` checks
 * (directory, checksums, sizes, nesting), and reads names, shapes and code as text.
 *
 * @param source path of a file, or its bytes
 *
 * @example
 * const { problem, runsWhenOpened, reaches } = await inspectModelFile('upload.pt');
 * const isHarmless = !problem && runsWhenOpened.length === 0 && reaches.length === 0;
 *
 * @throws FILE_NOT_FOUND, MODEL_UNREADABLE where the file cannot be read, LIBTORCH_NOT_FOUND, ADDON_NOT_FOUND
 */
export async function inspectModelFile(source: string | Uint8Array): Promise<ModelFileReport> {
  if (typeof source !== 'string' && !ArrayBuffer.isView(source)) {
    throw invalidType('inspectModelFile: expected the path of a file, or its bytes as a Uint8Array.');
  }
  const path = typeof source === 'string' ? source : undefined;
  if (path !== undefined) await requireFile(path, 'model');
  const addon = loadAddon();
  return report(await openingFile(path, () => addon.inspectFile(source)), path);
}

function report(file: NativeFile, path: string | undefined): ModelFileReport {
  const {
    facts,
    bytes,
    damage,
    card,
    records,
    tensors,
    classes,
    operators,
    restoring,
    nativeClasses,
    reaching,
  } = file;
  const name = path ?? 'The model given as bytes';
  const isOpened = facts.kind === 'torchscript' || facts.kind === 'checkpoint';
  const content = { bytes, records, tensors, moduleClasses: classes, operators };
  const read = readCardOf(card, name);
  const problem = isOpened ? (damage ? `${name} ${damage}` : read.problem) : sentenceOf(facts, path);
  const runsWhenOpened = [...restoring, ...nativeClasses];
  return { kind: facts.kind, problem, ...content, runsWhenOpened, reaches: reaching, card: read.card };
}

function readCardOf(text: string, name: string): { card: ModelCard | undefined; problem: string | null } {
  try {
    return { card: readCard({ [cardFile]: text }, name), problem: null };
  } catch (error) {
    return { card: undefined, problem: (error as Error).message };
  }
}
