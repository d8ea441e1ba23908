import { basename, extname } from 'node:path';
import type { FileFacts } from '../native.js';

/** What a file is that was given as a model, and what to do. */
export interface FileKind {
  /** Continues a sentence that begins with the file's name: `is a web page (HTML).` */
  is: string;
  /** One or two sentences; may end in lines of Python. */
  advice: string;
}

const purpose =
  'torchgraft trains and serves networks that give an image classes, labels or numbers, from TorchScript files.';
const exported =
  'Export the network from PyTorch as TorchScript: `torch.jit.script(model.eval()).save("model.pt")`.';
const fromPyTorch = `torchgraft trains networks of PyTorch. Take the same network from torchvision or timm, and export it: \`torch.jit.script(model.eval()).save("model.pt")\`.`;

/** By what the addon tells of the content. */
const simpleKinds: Record<string, FileKind> = {
  empty: { is: 'is an empty file.', advice: 'Copy or download it again.' },
  zeros: {
    is: 'begins with 64 KiB of zeros: it was never written, or the disk lost it.',
    advice: 'Copy or download it again.',
  },
  html: {
    is: 'is a web page (HTML), not a model.',
    advice:
      'A download gave the page in place of the file: use the direct link, and log in where the site asks for it.',
  },
  xml: {
    is: 'is XML text, not a model.',
    advice: 'Where it came from a download, read it: it may be an error message of the server.',
  },
  json: {
    is: 'is JSON text, not a model.',
    advice: 'Give the model file; torchgraft saves it as model.pt beside run.json.',
  },
  'git-lfs': {
    is: 'is a pointer of Git LFS: the model itself was not downloaded.',
    advice: 'Run `git lfs install` and `git lfs pull` in its repository.',
  },
  onnx: { is: 'is an ONNX model, which libtorch does not read.', advice: fromPyTorch },
  tensorflow: { is: 'is a graph of TensorFlow, which libtorch does not read.', advice: fromPyTorch },
  tflite: { is: 'is a TensorFlow Lite model, which libtorch does not read.', advice: fromPyTorch },
  hdf5: { is: 'is an HDF5 file, as Keras saves models, which libtorch does not read.', advice: fromPyTorch },
  keras: { is: 'is a Keras model, which libtorch does not read.', advice: fromPyTorch },
  gguf: {
    is: 'is a GGUF file: quantised weights for llama.cpp.',
    advice: `It cannot be trained. ${purpose}`,
  },
  executorch: {
    is: 'is an ExecuTorch program, which is made to run on small devices and cannot be trained.',
    advice: exported,
  },
  flatbuffer: {
    is: 'is a PyTorch Mobile model in the flatbuffer format, which cannot be trained.',
    advice: exported,
  },
  mobile: {
    is: 'is a PyTorch Mobile model without its source code, which cannot be trained.',
    advice: exported,
  },
  preview: { is: 'is of a preview of PyTorch 1.0, which no version reads any more.', advice: exported },
  'torch-package': {
    is: 'is a package of torch.package, which only Python can open.',
    advice: exported,
  },
  torchserve: {
    is: 'is an archive for TorchServe (.mar).',
    advice: 'Unpack it with `unzip`: the model is the .pt file in it.',
  },
  numpy: { is: 'holds arrays of NumPy, not a model.', advice: exported },
  image: {
    is: 'is an image, not a model.',
    advice: 'Are the arguments in their order? The model comes first.',
  },
  pdf: { is: 'is a PDF document, not a model.', advice: purpose },
  program: { is: 'is a program or a library, not a model.', advice: purpose },
  adapter: {
    is: 'is an adapter of torchgraft, which belongs to a pretrained model.',
    advice: 'Load that model with loadModel, and give it the adapter with loadAdapter.',
  },
  'peft-adapter': {
    is: 'is an adapter (LoRA) for a pretrained model, not a model.',
    advice: 'Merge it in Python (`merge_and_unload()` of PEFT), and export the result as TorchScript.',
  },
  checkpoint: {
    is: 'is a checkpoint of a training, not a model.',
    advice:
      'Go on with `resume: true` (`torchgraft train … --resume`) in its folder; the model is saved as model.pt when it ends.',
  },
  torchscript: {
    is: 'is a model, not a checkpoint.',
    advice: 'Start again without `resume`, or in another folder.',
  },
};

const packed: Record<string, string> = {
  gzip: 'gunzip',
  bzip2: 'bunzip2',
  xz: 'unxz',
  zstd: 'unzstd',
  '7z': '7z x',
  rar: 'unrar x',
  tar: 'tar -xf',
};

/** @param name path of the file, or undefined for bytes */
export function describeKind(facts: FileFacts, name: string | undefined): FileKind {
  const { kind } = facts;
  const tool = packed[kind];
  if (tool) return { is: `is a packed file (${kind}).`, advice: `Unpack it with \`${tool}\` first.` };
  return simpleKinds[kind] ?? withFacts(facts, name ?? 'weights.pth');
}

function withFacts(facts: FileFacts, name: string): FileKind {
  switch (facts.kind) {
    case 'damaged-zip':
      return { is: facts.why ?? 'is damaged.', advice: '' };
    case 'zip':
      return {
        is: `is a zip archive of other files (${clean(facts.names) || 'none'}), not a model.`,
        advice: /\.pth?\b/.test(facts.names ?? '') ? 'Unpack it first: the model lies in it.' : purpose,
      };
    case 'text':
      return { is: `is text, not a model. It begins with "${clean(facts.line)}".`, advice: purpose };
    case 'exported-program':
      return {
        is: 'is a program of torch.export (.pt2), which libtorch cannot train.',
        advice: `torchgraft opens TorchScript. In Python, with an example of the input:\n\n${exportProgram(name)}`,
      };
    case 'safetensors':
      return safetensors(facts, name);
    case 'state-dict':
      return stateDict(facts, name);
    case 'pickled-module':
      return pickledModule(facts, name);
    case 'pickled-tensors':
      return { is: 'holds tensors of torch.save, not a model.', advice: exported };
    case 'torch-save':
      return { is: 'is a file of torch.save, not TorchScript.', advice: exported };
    case 'pickle':
      return {
        is: `is a pickle of Python${facts.class ? ` (${clean(facts.class)})` : ''}, not TorchScript.`,
        advice: exported,
      };
    default:
      return { is: 'is in no format that is known here.', advice: purpose };
  }
}

const weightsAlone =
  'torchgraft opens TorchScript, which holds both. In Python, with `model` being the network that they belong to:';

function safetensors({ whole }: FileFacts, name: string): FileKind {
  const is = 'holds weights without their network (safetensors).';
  if (whole === 'no')
    return { is: 'is a safetensors file that is cut off.', advice: 'Copy or download it again.' };
  const load = [
    'from safetensors.torch import load_file',
    `model.load_state_dict(load_file(${python(name)}))`,
  ];
  return { is, advice: `${weightsAlone}\n\n${lines(['import torch', ...load, saveScript(name)])}` };
}

function stateDict({ tensors, first = '', under }: FileFacts, name: string): FileKind {
  const count = tensors === '1' ? '1 tensor' : `${tensors} tensors`;
  const is = `holds weights without their network: a PyTorch state dict (${count}, the first is ${clean(first)}).`;
  const file = `torch.load(${python(name)}, map_location='cpu', weights_only=${under ? 'False' : 'True'})`;
  const state = under ? `${file}[${python(under)}]` : file;
  // What DataParallel and DistributedDataParallel put before each name.
  const bare = first.startsWith('module.')
    ? `{name.removeprefix('module.'): value for name, value in ${state}.items()}`
    : state;
  return {
    is,
    advice: `${weightsAlone}\n\n${lines(['import torch', `model.load_state_dict(${bare})`, saveScript(name)])}`,
  };
}

function pickledModule({ class: type, under }: FileFacts, name: string): FileKind {
  const file = `torch.load(${python(name)}, map_location='cpu', weights_only=False)`;
  const model = under ? `${file}[${python(under)}]` : file;
  return {
    is: `is a network that torch.save pickled (${clean(type)}): only Python with the code of that class can open it.`,
    advice:
      'torchgraft opens TorchScript. In Python, where that code is (such a file runs code when it is opened: it must come from somebody you trust):\n\n' +
      lines(['import torch', `model = ${model}`, saveScript(name)]),
  };
}

function exportProgram(name: string): string {
  return lines([
    'import torch',
    `program = torch.export.load(${python(name)}).module()`,
    `torch.jit.trace(program, torch.zeros(1, 3, 224, 224)).save(${python(torchScriptName(name))})`,
  ]);
}

function saveScript(name: string): string {
  return `torch.jit.script(model.eval()).save(${python(torchScriptName(name))})`;
}

/** `weights.torchscript.pt`, beside where the user works. */
function torchScriptName(name: string): string {
  return `${basename(name, extname(name))}.torchscript.pt`;
}

function lines(code: string[]): string {
  return code.map((line) => `    ${line}`).join('\n');
}

/** A literal of Python; JSON's escapes are its own too. */
function python(text: string): string {
  return text.includes("'") || text.includes('\\') ? JSON.stringify(text) : `'${clean(text)}'`;
}

/** Text out of a file, for a terminal: without characters that control it, and not long. */
function clean(text = ''): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, '?').slice(0, 120);
}

/** What to say of a network that uses an operator which libtorch does not have. */
export function unknownOperator(operator: string): FileKind {
  const [space = ''] = operator.split('::');
  const origin =
    space === 'aten' || space === 'prim'
      ? 'It was exported by another version of PyTorch than this libtorch.'
      : `It comes from a Python package (${clean(space)}).`;
  const vision = space === 'torchvision' ? ' Networks that find or outline objects use it.' : '';
  return {
    is: `uses the operator ${clean(operator)}, which libtorch does not have. ${origin}${vision}`,
    advice:
      `${purpose} Export the part of the network that computes with operators of PyTorch alone, for example its ` +
      'backbone: `torch.jit.script(model.backbone.eval()).save("backbone.pt")`.',
  };
}
