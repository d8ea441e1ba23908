import './async-dispose.js';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { loadAddon } from './addon.js';
import { openingFile } from './archive/wrong-file.js';
import { writeAtomically } from './atomic-file.js';
import { type ModelCard, readCard, readHeads, type SavedHeads, writeCard } from './card.js';
import { cleanUp } from './clean-up.js';
import { invalidType, invalidValue } from './errors.js';
import { headShape, toNativeHead } from './head-options.js';
import { Desk, type Holder, Loan } from './loan.js';
import type {
  AddAdaptersRequest,
  ModelDescription,
  NativeModel,
  NativeTraining,
  PutAdaptersRequest,
  ReplaceHeadRequest,
  ReplaceHeadResult,
  Tensor,
  Value,
} from './native.js';
import { callNative } from './native-call.js';
import type { GradCamResult } from './native-grad-cam.js';
import { describeNotices } from './notices.js';
import { checkOptions, suggest } from './options.js';
import { lastLayers, matchNames, namesOf, ownParameters } from './patterns.js';
import { requireFile } from './regular-file.js';
import { isRegExp, isUint8Array } from './value-kinds.js';

const loadOptions = z.strictObject({
  device: z.string().default('auto'),
  threads: z.int().min(1).max(1024).optional(),
  safe: z.boolean().default(false),
});

/**
 * - `device`: `auto` (the first GPU that this libtorch sees, else the CPU), `cpu`, `cuda` or `cuda:1`; default `auto`
 * - `threads`: threads for libtorch's work on this model; default: all that the process may use
 * - `safe`: refuse, before anything of it runs, a model that runs code of its own when it is opened, or whose code could
 *   reach files, other processes or memory; default false. `forward` still runs the model's code, so one that you do not
 *   trust belongs in a child process with limits all the same
 */
export type LoadOptions = z.input<typeof loadOptions>;

const headOptions = z.strictObject({
  ...headShape,
  classes: z.int().min(1),
  standardise: z.boolean().default(false),
  seed: z.int().min(0).default(0),
  imageSize: z.int().min(1).default(224),
  example: z.custom<Tensor[]>(Array.isArray, 'expected a list of tensors').optional(),
});

/**
 * The form of the head ({@link HeadForm}), and
 * - `classes`: number of outputs
 * - `standardise`: a fixed layer (x - mean) / std before the new head, with mean 0 and std 1 until they are set; never
 *   trained, saved with the model, gone with the head when it is replaced again; default false
 * - `seed`: of PyTorch's default initialisation; default 0
 * - `imageSize`: side of the square image of the dry forward, pixels; default 224
 * - `example`: inputs for the dry forward of a model that does not take one float32 image [n, 3, h, w]
 */
export type HeadOptions = z.input<typeof headOptions>;

const inputOptions = z.strictObject({
  imageSize: z.int().min(1).default(224),
  example: z.custom<Tensor[]>(Array.isArray, 'expected a list of tensors').optional(),
});

/**
 * - `imageSize`: side of the square image of the dry forward, pixels; default 224
 * - `example`: inputs for the dry forward of a model that does not take one float32 image [n, channels, h, w]
 */
export type AdaptInputOptions = z.input<typeof inputOptions>;

const modelGradCamOptions = z.strictObject({
  classes: z
    .array(
      z
        .int()
        .min(0)
        .max(2 ** 31 - 1),
    )
    .optional(),
});

/** - `classes`: index of the class of each sample; default: those of the largest logit */
export type ModelGradCamOptions = z.input<typeof modelGradCamOptions>;

/** Which parameters: names, module paths, globs (`*` matches dots too), RegExps, or the last k layers in forward order. */
export type ParameterSelection = string | RegExp | readonly (string | RegExp)[] | { last: number };

const freezeOptions = z.strictObject({ trainBatchNorm: z.boolean().default(false) });

/**
 * - `trainBatchNorm`: BatchNorm of frozen layers keeps updating its statistics in training; default false: frozen
 *   means frozen
 */
export type FreezeOptions = z.input<typeof freezeOptions>;

/**
 * Loads a TorchScript model, scripted or traced, ready to be changed, trained and run. Checksums, sizes and nesting are
 * checked first, so a damaged file is refused. Opening a model may run code that is in it: see `safe`, and
 * `inspectModelFile`, which runs nothing.
 *
 * @param source path of a file, or its bytes
 * @throws FILE_NOT_FOUND, MODEL_UNREADABLE, DEVICE_UNAVAILABLE, LIBTORCH_NOT_FOUND, ADDON_NOT_FOUND
 */
export async function loadModel(source: string | Uint8Array, options: LoadOptions = {}): Promise<Model> {
  const { device, threads, safe } = checkOptions(loadOptions, options, 'loadModel');
  if (typeof source !== 'string' && !isUint8Array(source)) {
    throw invalidType('loadModel: expected the path of a TorchScript file, or its bytes as a Uint8Array.');
  }
  const path = typeof source === 'string' ? source : undefined;
  if (path !== undefined) await requireFile(path, 'model');
  const addon = loadAddon();
  const place = device === 'auto' ? (addon.info().gpus > 0 ? 'cuda:0' : 'cpu') : device;
  // Beside the loading, which is on a thread of its own.
  const stopped = new AbortController();
  const hashing = hash(source, stopped.signal).catch((error: unknown) => error as Error);
  const loading = { device: place, threads: threads ?? availableParallelism() };
  const native = await openingFile(path, () => addon.load(source, { ...loading, safe })).catch((error) => {
    stopped.abort();
    throw error;
  });
  const name = path ?? 'the model given as bytes';
  try {
    const card = readCard(native.extra, name);
    await recallHeads(native);
    const sha256 = await hashing;
    if (typeof sha256 !== 'string') throw sha256;
    const origin = { name: basename(name), sha256 };
    const description = await callNative(() => native.describe());
    return new Model({ native, description, origin, card, loading });
  } catch (error) {
    await cleanUp(() => native.dispose(), true);
    throw error;
  }
}

/** What its heads are was saved with a model that had one made; a file that was changed since has them found. */
async function recallHeads(native: NativeModel): Promise<void> {
  const heads = readHeads(native.extra);
  if (!heads) return;
  try {
    await callNative(() => native.nameHeads(heads.main, heads.auxiliary));
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'NO_HEAD') throw error;
  }
}

async function hash(source: string | Uint8Array, signal: AbortSignal): Promise<string> {
  const sha256 = createHash('sha256');
  if (typeof source === 'string') await pipeline(createReadStream(source), sha256, { signal });
  else sha256.update(source);
  return sha256.digest('hex');
}

/** The file a model was loaded from: its name without folders, and the SHA-256 of its bytes. */
export interface ModelOrigin {
  name: string;
  sha256: string;
}

/** How a head was made. @internal */
export interface NewHead {
  /** Of `replaceHead`, but for the dry forward's. */
  options: Omit<HeadOptions, 'imageSize' | 'example'>;
  made: ReplaceHeadResult;
}

/** What all Model objects of one native model share. @internal */
export interface ModelState {
  native: NativeModel;
  origin: ModelOrigin;
  /** Device and threads that it was loaded with. */
  loading: { device: string; threads: number };
  description: ModelDescription;
  card: ModelCard | undefined;
  revision?: number;
  trainings?: number;
  newHead?: NewHead;
}

/**
 * A TorchScript model in native memory. One operation at a time: a second one is refused with BUSY, and so is every call
 * while `fineTune` trains the model, except that between two epochs it may be read.
 */
export class Model {
  readonly #state: ModelState;
  readonly #desk = new Desk();
  readonly #native: NativeModel;

  /** Use {@link loadModel}. @internal */
  constructor(state: ModelState) {
    this.#state = state;
    this.#native = this.#desk.guard(state.native);
  }

  /** The addon's side. Not for use outside torchgraft. @internal */
  get native(): NativeModel {
    return this.#native;
  }

  get origin(): ModelOrigin {
    return this.#state.origin;
  }

  /** Device and threads that it was loaded with. @internal */
  get loading(): { device: string; threads: number } {
    return this.#state.loading;
  }

  /** Classes, preprocessing, provenance and metrics; what `save` writes. Undefined before the first fine-tuning. */
  get card(): ModelCard | undefined {
    return this.#state.card;
  }

  set card(card: ModelCard | undefined) {
    this.#state.card = card;
  }

  /**
   * Lends the model to what trains it: until it is given back, calls of this object are refused with BUSY.
   *
   * @internal
   */
  lend(holder: Holder): Loan {
    return new Loan(new Model(this.#state), this.#desk, holder);
  }

  /** What a person should know before training this model, one sentence each. */
  get notices(): string[] {
    return describeNotices(this.#state.description);
  }

  /** Grows whenever what learns, layers or weights were changed here, so not by training. @internal */
  get revision(): number {
    return this.#state.revision ?? 0;
  }

  /** How often training was configured: who did it can tell whether somebody else has since. @internal */
  get trainings(): number {
    return this.#state.trainings ?? 0;
  }

  /** How the head was made that it has, if not before it was loaded. @internal */
  get newHead(): NewHead | undefined {
    return this.#state.newHead;
  }

  /** Bytes of parameters and buffers; 0 once disposed. */
  get bytes(): number {
    return this.native.bytes;
  }

  /** `cpu` or `cuda:0`. */
  get device(): string {
    return this.#state.description.device;
  }

  /** Modules, parameters, buffers, layers in forward order and heads, as they are now. @throws BUSY, DISPOSED */
  async summary(): Promise<ModelDescription> {
    this.#state.description = await callNative(() => this.native.describe());
    return structuredClone(this.#state.description);
  }

  /** Names of the parameters that learn. */
  get trainable(): string[] {
    return this.#state.description.parameters.filter(({ trainable }) => trainable).map(({ name }) => name);
  }

  /**
   * Names of the parameters a selection means.
   *
   * @throws PATTERN_UNMATCHED naming near matches, INVALID_VALUE when `last` is more than there are layers
   */
  select(selection: ParameterSelection): string[] {
    const { modules, layers } = this.#state.description;
    const names = namesOf(this.#state.description);
    if (typeof selection === 'object' && 'last' in selection && !isRegExp(selection)) {
      return ownParameters(lastLayers(selection.last, layers, modules), names);
    }
    const patterns = (Array.isArray(selection) ? selection : [selection]) as (string | RegExp)[];
    return matchNames(patterns, names);
  }

  /**
   * These parameters learn no more: no gradient, no change, no new BatchNorm statistics, no dropout in their layers.
   *
   * @throws PATTERN_UNMATCHED, BUSY, DISPOSED
   */
  async freeze(selection: ParameterSelection, options: FreezeOptions = {}): Promise<void> {
    const frozen = new Set(this.select(selection));
    await this.setTrainable(
      this.trainable.filter((name) => !frozen.has(name)),
      options,
    );
  }

  /** These parameters learn again. @throws PATTERN_UNMATCHED, BUSY, DISPOSED */
  async unfreeze(selection: ParameterSelection, options: FreezeOptions = {}): Promise<void> {
    await this.setTrainable([...new Set([...this.trainable, ...this.select(selection)])], options);
  }

  /** Exactly these parameters learn. @throws INVALID_VALUE for a name the model does not have, BUSY, DISPOSED */
  async setTrainable(names: string[], options: FreezeOptions = {}): Promise<void> {
    const { trainBatchNorm } = checkOptions(freezeOptions, options, 'freeze');
    const { parameters, tied = new Map<string, string>() } = namesOf(this.#state.description);
    const firstNames = names.map((name) => tied.get(name) ?? name);
    const known = new Set(parameters);
    const unknown = firstNames.find((name) => !known.has(name));
    if (unknown !== undefined) {
      throw invalidValue(
        `setTrainable: no parameter is called \`${unknown}\`. ${suggest(unknown, parameters)}`,
      );
    }
    const learnable = new Set(
      this.#state.description.parameters.filter(({ dtype }) => /float/.test(dtype)).map(({ name }) => name),
    );
    const wanted = firstNames.filter((name) => learnable.has(name));
    await callNative(() => this.native.setTrainable(wanted, trainBatchNorm));
    await this.#changed();
  }

  /**
   * Gives the model a new classifying layer, with PyTorch's default initialisation; everything else stays
   * bit-identical, and what was frozen stays frozen. Auxiliary heads (Inception, GoogLeNet) and heads whose outputs are
   * averaged (distilled DeiT) are replaced too.
   * Proven by a dry forward; when that fails, the model is as it was.
   *
   * @throws NO_HEAD, MODEL_FROZEN, MODEL_FAILED, BUSY, DISPOSED
   */
  async replaceHead(options: HeadOptions): Promise<ReplaceHeadResult> {
    const head = this.#headRequest(options, 'replaceHead');
    const made = await callNative(() => this.native.replaceHead(head.request));
    this.#state.newHead = { options: head.options, made };
    await this.#changed();
    return made;
  }

  #headRequest(
    given: HeadOptions,
    where: string,
  ): { request: ReplaceHeadRequest; options: NewHead['options'] } {
    const { imageSize, example, ...options } = checkOptions(headOptions, given, where);
    const inputs = example ?? [blankImage(imageSize, this.#state.description.inputChannels ?? 3)];
    return { request: { ...toNativeHead(options, where), example: inputs }, options };
  }

  /**
   * Gives Linear and Conv2d layers a low-rank adapter each (LoRA, Hu et al. 2021): weight + scale * B A, A random and B 0,
   * so that the model computes what it did. The adapters learn from now on; freeze the rest. `save` writes a model with
   * the adapters merged into its weights, `saveAdapter` the adapters alone.
   *
   * @throws INVALID_VALUE when no layer can have one, or there are adapters already; BUSY, DISPOSED
   */
  async addAdapters(request: AddAdaptersRequest): Promise<void> {
    await callNative(() => this.native.addAdapters(request));
    await this.#changed();
  }

  /**
   * Gives the model what an adapter file holds: all or none.
   *
   * @param newHead of the head to make first; undefined where the model has it
   * @internal
   */
  async putAdapters(
    content: Omit<PutAdaptersRequest, 'head'>,
    newHead: HeadOptions | undefined,
  ): Promise<void> {
    const head = newHead && this.#headRequest(newHead, 'putAdapters');
    const made = await callNative(() => this.native.putAdapters({ ...content, head: head?.request ?? null }));
    if (head) this.#state.newHead = { options: head.options, made };
    await this.#changed();
  }

  /** Adds what adapters have learned to the weights, and removes them. @throws BUSY, DISPOSED */
  async mergeAdapters(): Promise<void> {
    await callNative(() => this.native.mergeAdapters());
    await this.#changed();
  }

  /**
   * Makes the model take another number of input channels, by the rule of timm for the weights of its first convolution:
   * for one channel they are summed over all; for more they are repeated in turn and scaled by the old number over the
   * new. Proven by a dry forward; when that fails, the model is as it was. Such a model is trained by `createTrainer`, on
   * tensors [n, channels, h, w]: images are decoded to three channels, grey ones to three equal ones.
   *
   * @throws MODEL_FAILED when its first layer is no such convolution; INVALID_VALUE, BUSY, DISPOSED
   */
  async adaptInput(channels: number, options: AdaptInputOptions = {}): Promise<void> {
    const { imageSize, example } = checkOptions(inputOptions, options, 'adaptInput');
    if (!Number.isInteger(channels) || channels < 1 || channels > 4096) {
      throw invalidValue(
        `adaptInput: ${channels} is no number of channels. Expected a whole number from 1 to 4096.`,
      );
    }
    const inputs = example ?? [blankImage(imageSize, channels)];
    await callNative(() => this.native.adaptInput({ channels, example: inputs }));
    await this.#changed();
  }

  /** Makes a training of its own, which ends the one before. @internal */
  async configure(training: NativeTraining): Promise<void> {
    this.#state.trainings = this.trainings + 1;
    await callNative(() => this.native.configure(training));
  }

  /** PyTorch's default initialisation of every layer: the same network, untrained. @throws BUSY, DISPOSED */
  async reinitialise(seed = 0): Promise<void> {
    await callNative(() => this.native.reinitialise(seed));
    await this.#changed();
  }

  /**
   * Runs forward in eval mode without gradients.
   *
   * @param inputs one plain tensor for each argument of the model's forward
   * @returns what forward returns: tensors, or arrays (tuples, lists) and objects (dicts) of them
   * @throws SHAPE_MISMATCH, MODEL_FAILED, BUSY, DISPOSED
   */
  async forward(inputs: Tensor[]): Promise<Value> {
    return callNative(() => this.native.forward(inputs));
  }

  /**
   * Grad-CAM (Selvaraju et al. 2017): which places speak for a class. Of the last map of features A before the head and a
   * class's logit y: relu(sum_k alpha_k A_k), alpha_k the mean over places of dy / dA_k, divided by its largest value. A is
   * what is pooled before the head; where the head is a convolution of a map, as in SqueezeNet, it is what that takes.
   * In eval mode; nothing of the model changes. `Classifier.gradCam` takes images.
   *
   * @param inputs one plain tensor for each argument of the model's forward
   * @param options `classes`: index of the class of each sample, [n]; default: those of the largest logit
   * @throws NO_HEAD where no map [n, channels, h, w] is pooled before the head; MODEL_FAILED, MODEL_FROZEN, SHAPE_MISMATCH,
   * INVALID_VALUE, BUSY, DISPOSED
   */
  async gradCam(inputs: Tensor[], options: ModelGradCamOptions = {}): Promise<GradCamResult> {
    const { classes } = checkOptions(modelGradCamOptions, options, 'gradCam');
    const chosen = classes ? { classes: Int32Array.from(classes) } : {};
    return callNative(() => this.native.gradCam({ inputs, ...chosen }));
  }

  /**
   * Writes one TorchScript file, atomically. It opens in Python with `torch.jit.load`.
   *
   * @param card what the file shall carry beside the weights; default: what the model was loaded with
   */
  async save(path: string, card: ModelCard | undefined = this.card): Promise<void> {
    const extra = writeCard(card, this.#knownHeads());
    await writeAtomically(path, (temporary) => callNative(() => this.native.save(temporary, extra)));
  }

  /**
   * Runs `use` while the layer at this path is taken for the one that classifies; left out, the heads are those that are known
   * or found.
   *
   * @throws NO_HEAD where it is no Linear or Conv2d
   * @internal
   */
  async withHead<T>(layer: string | undefined, use: () => Promise<T>): Promise<T> {
    if (!layer || this.#mainHeads().includes(layer)) return use();
    const before = this.#knownHeads();
    const made = this.#state.newHead;
    await this.#nameHeads([layer], null);
    try {
      return await use();
    } finally {
      // One that was made meanwhile is the head from now on.
      if (this.#state.newHead === made) await this.#nameHeads(before?.main ?? [], before?.auxiliary ?? null);
    }
  }

  async #nameHeads(main: string[], auxiliary: string[] | null): Promise<void> {
    await callNative(() => this.native.nameHeads(main, auxiliary));
    await this.#changed();
  }

  #mainHeads(): string[] {
    return this.#state.description.heads.filter(({ role }) => role === 'main').map(({ module }) => module);
  }

  #knownHeads(): SavedHeads | undefined {
    const { headsKnown, heads } = this.#state.description;
    if (!headsKnown) return undefined;
    const auxiliary = heads.filter(({ role }) => role === 'auxiliary').map(({ module }) => module);
    return { main: this.#mainHeads(), auxiliary };
  }

  async #changed(): Promise<void> {
    this.#state.revision = this.revision + 1;
    await this.summary();
  }

  /** Waits for running work, then frees the weights. Idempotent; afterwards every method throws DISPOSED. */
  async dispose(): Promise<void> {
    await this.native.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

function blankImage(side: number, channels: number): Tensor {
  return {
    data: new Float32Array(channels * side * side),
    shape: [1, channels, side, side],
    dtype: 'float32',
  };
}
