/**
 * Everything that crosses between TypeScript and the addon, in one place. JavaScript never holds a tensor: strings,
 * numbers and plain tensors cross, once per batch. All methods of `NativeModel` that return promises run on the
 * model's own native thread, one at a time; a second call while one runs is refused with BUSY.
 * Native errors carry `code` (an ErrorCode), `message`, `backtrace` (libtorch's own words) where there is one, and `facts`
 * ({@link FileFacts}) where a file is of another kind.
 */
import type { NativeSource } from './native-forgetting.js';
import type { NativeGradCam } from './native-grad-cam.js';
import type { AdapterDescription, NativeCosine, NativeGrafts } from './native-grafts.js';
import type { NativePlanRequest, Plan, Precision } from './native-plan.js';
import type { NativePreprocess, NativeTraining } from './native-training.js';

export type * from './native-forgetting.js';
export type * from './native-grad-cam.js';
export type * from './native-grafts.js';
export type * from './native-plan.js';
export type * from './native-training.js';

/** Element types that cross the boundary. `bool` is a Uint8Array of 0 and 1. */
export type DType = 'float32' | 'float64' | 'int64' | 'int32' | 'uint8' | 'bool';

/** Typed arrays by dtype: Float32Array, Float64Array, BigInt64Array, Int32Array, Uint8Array, Uint8Array. */
export type TensorData = Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array;

/** A tensor as plain data: row-major values, shape, dtype. `data.length` equals the product of `shape`. */
export interface Tensor {
  data: TensorData;
  shape: number[];
  dtype: DType;
}

/** What a model's forward may return: tensors, and tuples, lists and dicts of them. */
export type Value = Tensor | number | boolean | string | null | Value[] | { [key: string]: Value };

/** One module of the tree, in the order `named_modules()` gives them; the root has path ''. */
export interface ModuleDescription {
  path: string;
  /** The class name without its package, for example `Conv2d`. */
  type: string;
  training: boolean;
}

export interface ParameterDescription {
  name: string;
  /** Of a tensor that several layers share: its names beside the first. */
  otherNames: string[];
  shape: number[];
  dtype: string;
  trainable: boolean;
  /** Index of the optimizer's parameter group, or -1 before training is configured. */
  group: number;
}

export interface BufferDescription {
  name: string;
  shape: number[];
  dtype: string;
}

/** A Linear or Conv2d whose output becomes logits without passing another layer with parameters. */
export interface HeadDescription {
  module: string;
  kind: 'linear' | 'conv2d';
  inFeatures: number;
  outFeatures: number;
  hasBias: boolean;
  /**
   * `main` heads make the output that is trained and evaluated, several of them together where they are added up or averaged;
   * `auxiliary` ones help to train, as in Inception.
   */
  role: 'main' | 'auxiliary';
  /** Which of the tensors that forward returns it makes; 0 when it returns one. */
  output: number;
  /** It computes with normalised inputs and weights. */
  cosine: boolean;
  /** How the map right before it is pooled; `concat` is [max, avg]. Null where no pooling comes right before it. */
  pooling: 'avg' | 'concat' | null;
  /** Operations between it and the output, in order, for example `softmax`; what only rearranges is left out. */
  after: string[];
}

export interface ModelDescription {
  modules: ModuleDescription[];
  parameters: ParameterDescription[];
  buffers: BufferDescription[];
  /** Paths of the modules that own parameters, in the order forward uses them. */
  layers: string[];
  /** Paths of those whose parameters forward never uses, as auxiliary heads of a network traced in eval mode. */
  unusedLayers: string[];
  /** Main ones first. */
  heads: HeadDescription[];
  /** Why no main head was found, and what to do; null where there is one. */
  headProblem: string | null;
  /** The heads are known of a head that was made or named, and were not found in forward. */
  headsKnown: boolean;
  /** Where the main output lies in what forward returns: index or key, from the outermost; empty when that is one tensor. */
  mainOutput: string[];
  /** Low-rank adapters that are not merged. */
  adapters: AdapterDescription[];
  /** Of the convolution that the input reaches first; null where something else comes first. */
  inputChannels: number | null;
  origin: 'scripted' | 'traced';
  /** No parameters at all: `torch.jit.freeze` made constants of them. */
  frozen: boolean;
  /** Traced in eval mode: train() changes nothing in it. */
  tracedInEval: boolean;
  /** Traced in train mode: its dropout and BatchNorm were made to follow train and eval mode on loading. */
  tracedInTrain: boolean;
  /** An operation by which the same input gives other outputs even in eval mode, such as `aten::dropout`; '' without one. */
  changingInEval: string;
  /** What the weights were in before they were made float32 on loading, for example `float16`; mostly empty. */
  convertedFrom: string[];
  /** The code named a device that is not the one it is on, for example the GPU that it was traced on; it was changed. */
  moved: boolean;
  /** Modules with 8-bit weights, or the operations on such. They predict but cannot learn. */
  quantised: string[];
  /** The file was saved in train mode (some module had training = true). */
  savedInTrainMode: boolean;
  /** Names of floating-point parameters that were saved with requires_grad = false. */
  savedWithoutGrad: string[];
  /** Paths of BatchNorm modules. */
  batchNorms: string[];
  /** Every BatchNorm has mean 0 and variance 1, folded into its convolution: it must stay in eval. */
  foldedBatchNorm: boolean;
  inputs: { name: string; type: string }[];
  output: string;
  device: string;
}

/** A batch. Images: one uint8 input [n, h, w, 3], preprocessed natively when `preprocess` is set. */
export interface NativeBatch {
  inputs: Tensor[];
  /**
   * int64/int32 class indices [n]; floats [n, classes] whose rows sum to 1 for cross-entropy and focal; or floats [n, ...]
   * for BCE, MSE, Huber, where indices become one-hot.
   */
  target: Tensor;
  /** Of each sample's loss in a step [n]: sum w l / sum w. Not with a loss of source text. */
  weights?: Float32Array;
  /** Group of each sample [n], with `groupDro`. */
  groups?: Int32Array;
  /** Sample indices, for augmentation [n]; required with `augment`. */
  indices?: Int32Array;
  /** Width and height of each original image in pixels [n, 2], for crops in true aspect; with `augment.crop`. */
  sizes?: Int32Array;
  epoch?: number;
  /** Learning rate of each group for this step. */
  learningRates?: number[];
  /** True on the last batch of an epoch: an unfinished accumulation is applied then. */
  flush?: boolean;
}

/** A batch of kept features instead of images. */
export interface NativeRows extends Omit<NativeBatch, 'inputs' | 'indices' | 'sizes'> {
  /** Row numbers, [n]. */
  rows: Int32Array;
}

/** Where features are kept: the file (empty: memory alone), what they depend on, a label for listings, and budgets. */
export interface NativeFeatures {
  path: string;
  identity: string;
  label: string;
  memoryBytes: number;
  fileBytes: number;
}

/** Images whose features are kept. `augmentSeed`: as training sees them, else as evaluation does. */
export interface NativeFeatureBatch extends Omit<NativeBatch, 'target'> {
  /** 32 bytes an image. */
  keys: Uint8Array;
  augmentSeed?: number;
}

export interface StepResult {
  /** Mean loss of the batch, before the weights change; with lbfgs at the end of the step, without weight decay. */
  loss: number;
  /** What was added to it against forgetting; that of weights only in a step that ends an accumulation. */
  penalty: number;
  /**
   * Samples whose largest logit is the target; of images mixed by mixup or cutmix the label of the one with the larger
   * share; -1 when targets are not class indices.
   */
  correct: number;
  count: number;
  /**
   * 2-norm of all gradients before clipping; 0 when this batch did not end an accumulation. With lbfgs at the end of the
   * step, weight decay included: near 0 it has converged.
   */
  gradientNorm: number;
  seconds: number;
}

export interface EvaluateResult {
  /** Mean loss of the batch; 0 when no target was given. */
  loss: number;
  /** The main output, [n, classes]; of several views, logarithms of their mean probabilities. */
  logits: Tensor;
}

export interface ReplaceHeadRequest {
  /** Path of the layer, '' to find it. */
  layer: string;
  classes: number;
  seed: number;
  hidden: number[];
  dropout: number;
  /** A fixed layer (x - mean) / std comes right before the new layer (the first one, with `hidden`) of the main head. */
  standardise: boolean;
  /** The new layer (the last one, with `hidden`) of the main head is a cosine head. */
  cosine?: NativeCosine | null;
  /** Left out: as it is. */
  pooling?: 'avg' | 'concat';
  /** A classifier is appended to a network without one, on these features of what it returns. Left out: a layer is replaced. */
  append?: 'pooled' | 'classToken' | 'both';
  /** Inputs for the dry forward. */
  example: Tensor[];
}

export interface ReplaceHeadResult {
  /** Names of the new parameters; what strategy `head` trains. */
  parameters: string[];
  /** Paths of the layers that were replaced, main first. */
  layers: string[];
  /** What made probabilities of the old head's outputs and was taken out of forward: `softmax`, `log_softmax`, `sigmoid`. */
  cut: string[];
  /**
   * Names of the buffers [inFeatures] of the layer before the head, 0 and 1 until `setValues` sets them; null without
   * `standardise`. They never learn, and no plan and no kept features depend on them.
   */
  standardiser: { mean: string; std: string } | null;
}

/** What an inference-only copy is made for. */
export interface OptimiseRequest {
  /** `auto` picks by a trial on the example. */
  precision: 'auto' | 'float32' | 'bfloat16' | 'float16';
  /** uint8 [n, h, w, 3]. */
  example: Tensor;
  preprocess: NativePreprocess;
  /** Likewise, [m, h, w, 3]: images that give 8-bit convolutions their ranges. Without them there are none. */
  samples?: Tensor;
}

export interface OptimiseResult {
  precision: Precision | 'int8';
  /** How it was compiled (`fused`, `folded`, `exact`; int8: by which library) and the layout of images within it. */
  layout: string;
  /** Largest deviation of the example's logits from the model's own in float32, relative to the largest. */
  difference: number;
  /** Of the example batch. */
  seconds: number;
  /** Likewise in float32; with `samples`. */
  float32Seconds: number;
}

export interface NativeModel extends NativeSource, NativeGrafts, NativeGradCam {
  describe(): Promise<ModelDescription>;
  /** Values of parameters and buffers by name. */
  values(names: string[]): Promise<Tensor[]>;
  /**
   * Sets parameters and buffers by name, all or none. Values are float32 or float64 of the same shape and finite
   * throughout; one of integers (a counter) cannot be set. A plan, and features kept under it, hold only where
   * everything that is set learns or belongs to a standardiser.
   */
  setValues(names: string[], values: Tensor[]): Promise<void>;
  /** Gradients of parameters by name; null where undefined. */
  gradients(names: string[]): Promise<(Tensor | null)[]>;
  /** In eval mode, without gradients. */
  forward(inputs: Tensor[]): Promise<Value>;
  /** Exactly these parameters learn from now on. Modules that are wholly frozen go to eval. */
  setTrainable(parameters: string[], trainBatchNorm: boolean): Promise<void>;
  replaceHead(request: ReplaceHeadRequest): Promise<ReplaceHeadResult>;
  /**
   * Paths of the layers that are main and auxiliary heads, whatever forward suggests; auxiliary ones are found where they are
   * null, and all where `main` is empty.
   */
  nameHeads(main: string[], auxiliary: string[] | null): Promise<void>;
  /** PyTorch's default initialisation of every Linear, Conv and BatchNorm, seeded: the network, untrained. */
  reinitialise(seed: number): Promise<void>;
  /**
   * Puts a batch through in eval mode, except that BatchNorm normalises with the batch's own statistics. Running ones
   * become the mean over the `before` batches so far and this one: PyTorch's momentum=None.
   */
  estimateStatistics(
    batch: Pick<NativeBatch, 'inputs'> & { before: number; preprocess?: NativePreprocess },
  ): Promise<void>;
  configure(training: NativeTraining): Promise<void>;
  /** Equal for models that are computed alike: frozen weights, what learns, operations, device. '' for none. */
  planKey(): Promise<string>;
  /** Takes a plan that was proven before for a model with this planKey, without trying it again. */
  usePlan(known: Pick<Plan, 'variant' | 'precision' | 'crossings' | 'cacheable'>): Promise<Plan>;
  /**
   * Decides how steps and evaluations are computed from now on, and proves on this batch that outputs and gradients
   * equal those of the model as it was loaded. Holds until the model is changed other than by steps.
   */
  plan(batch: NativeBatch, request: NativePlanRequest): Promise<Plan>;
  /** Where the plan's crossing values are kept from now on. */
  openFeatures(options: NativeFeatures): Promise<{ rows: number; fileBytes: number; problem: string }>;
  /** Row numbers of keys (32 bytes each), -1 where there is none. */
  findFeatures(keys: Uint8Array): Promise<Int32Array>;
  /** Runs the prefix on images and keeps what crosses; row numbers, -1 where there is no room. */
  storeFeatures(batch: NativeFeatureBatch): Promise<Int32Array>;
  /** Kept features of these rows, one tensor for each crossing value of the plan, [n, ...], float32. */
  readFeatures(rows: Int32Array): Promise<Tensor[]>;
  step(batch: NativeBatch | NativeRows): Promise<StepResult>;
  evaluate(
    batch: (Omit<NativeBatch, 'target'> | Omit<NativeRows, 'target'>) & {
      target?: Tensor;
      preprocess?: NativePreprocess;
      /** Rows of `inputs` that are one image, one after the other; and whether each is seen mirrored too. */
      crops?: number;
      mirrored?: boolean;
    },
  ): Promise<EvaluateResult>;
  /** Makes a frozen, compiled copy of the model, which `evaluate` runs from now on; it cannot be trained any more. */
  optimise(request: OptimiseRequest): Promise<OptimiseResult>;
  /** Keeps a copy of all weights and buffers as "best". */
  keepBest(): Promise<void>;
  /** Puts the kept copy back. */
  restoreBest(): Promise<void>;
  /** TorchScript file with extra files; the caller makes it atomic. */
  save(path: string, extra: Record<string, string>): Promise<void>;
  /** As save, with optimizer state, best weights and trainable flags in it. */
  saveCheckpoint(path: string, extra: Record<string, string>): Promise<void>;
  /** Restores weights, buffers, optimizer state and best from a checkpoint of this model; returns its extra files. */
  loadCheckpoint(path: string): Promise<Record<string, string>>;
  /** Waits for running work, then frees the weights. Idempotent. */
  dispose(): Promise<void>;
  /** Parameters and buffers, bytes; 0 once disposed. */
  readonly bytes: number;
  /** Extra files of ours found in the loaded file, by name. */
  readonly extra: Record<string, string>;
}

/** What a file turned out to be, and a few words about it by name; {@link describeKind} makes sentences of them. */
export type FileFacts = { kind: string } & Record<string, string | undefined>;

/** A file that was looked at and not opened. Lists are empty for what is no TorchScript, and where they could not be read. */
export interface NativeFile {
  facts: FileFacts;
  bytes: number;
  /** What is wrong with it, continuing a sentence that begins with its name; '' where it may be opened. */
  damage: string;
  /** The text of the extra file with the card; '' where there is none. */
  card: string;
  records: { name: string; bytes: number; storedBytes: number }[];
  /** Parameters and buffers in their order, dtypes in PyTorch's words. */
  tensors: { name: string; dtype: string; shape: number[] }[];
  /** Classes of modules, as `__torch__.torch.nn.modules.conv.Conv2d`. */
  classes: string[];
  /** `aten::conv2d` and so on, sorted. */
  operators: string[];
  /** Classes of libtorch's own, written in C++, `quantized.Conv2dPackedParamsBase`. */
  nativeClasses: string[];
  /** Classes whose code runs when the file is opened. */
  restoring: string[];
  /** Operators and classes that reach files, other processes or memory. */
  reaching: string[];
}

export interface NativeBinding {
  /** e.g. { torch: '2.13.0', compiledFor: '2.13.0', napi: 9, cpuCapability: 'AVX2', cuda: false, gpus: 0 } */
  info(): NativeInfo;
  load(
    source: string | Uint8Array,
    options: { device: string; threads: number; safe?: boolean },
  ): Promise<NativeModel>;
  /** What a file is and holds, read without opening it: nothing of it runs. */
  inspectFile(source: string | Uint8Array): Promise<NativeFile>;
  /**
   * Decodes a JPEG file, or its bytes, on one of libuv's threads, and writes RGB bytes [side, side, 3] into `target` at
   * `offset`. Gives the original's size in pixels after EXIF orientation; undefined for what is no JPEG, for a damaged
   * or unusual one (CMYK, 12 bits), and always when the addon has no libjpeg-turbo (`info().jpeg`).
   */
  decodeJpeg(
    source: string | Uint8Array,
    view: NativeView,
    target: Uint8Array,
    offset: number,
  ): Promise<{ width: number; height: number } | undefined>;
  /** The same with decoded pixels, 8 bits a channel: grey, grey and alpha, RGB or RGBA, row by row. Alpha is dropped. */
  resizePixels(
    image: { data: Uint8Array | Uint8ClampedArray; width: number; height: number; channels: 1 | 2 | 3 | 4 },
    view: NativeView,
    target: Uint8Array,
    offset: number,
  ): Promise<{ width: number; height: number }>;
  /**
   * LogME (You et al. 2021): evidence of a Bayesian linear model of float32 features [n, d] for each class against the
   * rest, per sample, mean over the classes; labels are 0 to classes - 1, [n]. The precisions are found as in the
   * authors' later, fixed-point code; the determinant counts all d directions also where n < d, as in the paper. On a
   * thread of its own, in float64, at a cost of n * min(n, d)^2, as the two below.
   */
  logME(features: Tensor, labels: Int32Array, classes: number): Promise<number>;
  /**
   * H-score (Bao et al. 2019), 0 to classes - 1: the share of the features' variance that the classes explain, summed over
   * the directions in which they vary. `shrinkage`: with the covariance of Ledoit and Wolf (Ibrahim et al. 2021). 2
   * samples or more.
   */
  hScore(features: Tensor, labels: Int32Array, classes: number, shrinkage: boolean): Promise<number>;
  /**
   * For each lambda the weight [c, d] and bias [c] (float32) for which |targets - features weight' - bias|^2 +
   * lambda |weight|^2 is least, in closed form. Targets are floats [n, c]: one-hot rows or any others.
   */
  ridge(features: Tensor, targets: Tensor, lambdas: number[]): Promise<{ weight: Tensor; bias: Tensor }[]>;
  /** Objects alive natively, for leak tests. */
  live(): { models: number; tasks: number };
}

/** What is made of an image: squashed to side x side, or the short side resized to `resize` and the centre cut out. */
export interface NativeView {
  /** Pixels; at least `side` unless `squash`. */
  resize: number;
  /** Pixels. */
  side: number;
  squash: boolean;
  filter: 'bilinear' | 'bicubic';
  /** Cut there instead of at the centre. */
  corner?: 'top-left' | 'top-right' | 'bottom-left' | 'bottom-right';
  /** Of the image, most pixels that are decoded. Default 16,383 x 16,383. */
  maxPixels?: number;
}

export interface NativeInfo {
  torch: string;
  compiledFor: string;
  napi: number;
  /** What libtorch's kernels use: DEFAULT, AVX2, AVX512. */
  cpuCapability: string;
  cuda: boolean;
  /** GPUs that libtorch sees. */
  gpus: number;
  threads: number;
  /** Compiled with libjpeg-turbo. */
  jpeg: boolean;
}
