import { cleaningUp, cleanUp } from '../clean-up.js';
import { BatchLoader } from '../data/loader.js';
import { nativePreprocess } from '../data/preprocessing.js';
import { TorchgraftError, throwIfAborted } from '../errors.js';
import type { Reading } from '../fine-tune/epoch.js';
import type { CheckedOptions } from '../fine-tune/options.js';
import type { Stage } from '../fine-tune/strategies/stage.js';
import type { Model } from '../model.js';
import type { NativeForgetting, Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import { digestWeights } from '../weights-digest.js';
import { digestRetainSet, type RetainSet, readRetainSet } from './retain-set.js';
import type { RetentionReport } from './retention.js';
import { SourceModel } from './source-model.js';

type Options = Pick<CheckedOptions, 'regularisation' | 'distillation' | 'seed' | 'signal'>;

/** The head that a model got. */
export interface Graft {
  /** Path of the layer that makes the logits. */
  layer: string;
  classes: number;
  /** Names of the parameters that the source did not have. */
  fresh: string[];
}

/**
 * What a fine-tuning does against forgetting, from before the model gets its head until after the last epoch: the source's
 * weights are kept natively, its head is joined to the new one where it is distilled, and retention is measured.
 */
export class Forgetting {
  /** What a resumed run must have in common with the run that it goes on with. */
  readonly recipe: Record<string, string>;
  readonly #model: Model;
  readonly #options: Options;
  readonly #source: SourceModel | undefined;
  readonly #witness: Witness | undefined;
  #graft: Graft | undefined;
  #isJoined = false;
  /** How much of the source task was left at the end; undefined without `retain`, and before. */
  retention: RetentionReport | undefined;

  private constructor(
    model: Model,
    options: Options,
    recipe: Record<string, string>,
    source: SourceModel | undefined,
    witness: Witness | undefined,
  ) {
    this.#model = model;
    this.#options = options;
    this.recipe = recipe;
    this.#source = source;
    this.#witness = witness;
  }

  /** Looks at a model that has its head still. Undefined where nothing was asked for. */
  static async begin(
    model: Model,
    options: CheckedOptions,
    preprocessing: Reading['preprocessing'],
  ): Promise<Forgetting | undefined> {
    const { retain, regularisation, distillation, batchSize, threads, unreadable } = options;
    if (!retain && !regularisation && !distillation) return undefined;
    const reading: Reading = { preprocessing, batchSize, threads, unreadable };
    const set = retain && (await readRetainSet(retain, model.card?.classes));
    const isEwc = regularisation?.kind === 'ewc';
    const recipe = {
      source: await digestWeights(model),
      ...(set && isEwc ? { retained: await digestRetainSet(set) } : {}),
    };
    const source = set && (await SourceModel.of(model, set, reading));
    try {
      await callNative(() => model.native.keepSource());
      if (set && isEwc) await addFisher(model, set, reading, options);
      const witness = distillation && (await Witness.of(model, preprocessing.size));
      return new Forgetting(model, options, recipe, source, witness);
    } catch (error) {
      await cleanUp(() => source?.[Symbol.asyncDispose](), true);
      throw error;
    }
  }

  /** The model has its head. @throws INVALID_VALUE where the source head cannot be kept beside it */
  async grafted(graft: Graft): Promise<void> {
    this.#graft = graft;
    if (!this.#witness) return;
    const witness = this.#witness;
    await this.#join(true);
    await cleaningUp(
      () => witness.compare(this.#model, graft),
      () => this.#join(false),
    );
  }

  /**
   * Prepares for a stage and gives what it is to be configured with. L-BFGS fits a head alone, so that nothing of the
   * source is at stake.
   */
  async enter({ optimizer }: Stage): Promise<{ forgetting?: NativeForgetting }> {
    const { regularisation, distillation } = this.#options;
    const { layer, classes, fresh } = this.#graft as Graft;
    const isAtStake = optimizer.kind !== 'lbfgs';
    await this.#join(isAtStake && distillation !== undefined);
    if (!isAtStake || (!regularisation && !distillation)) return {};
    return {
      forgetting: {
        ...(regularisation ? { anchor: regularisation } : {}),
        ...(distillation ? { distillation: { ...distillation, layer, classes } } : {}),
        fresh,
      },
    };
  }

  /** The model is as it will be saved: takes the source head off, and measures what is left of the source task. */
  async finish(): Promise<void> {
    await cleaningUp(
      () => this.#end(),
      () => this.#source?.[Symbol.asyncDispose](),
    );
  }

  async #end(): Promise<void> {
    await this.#join(false);
    await callNative(() => this.#model.native.dropSource());
    if (!this.#source || this.#options.signal?.aborted) return;
    const { images, labels, before } = this.#source;
    this.retention = { images, labels, before, after: await this.#source.measure(this.#model) };
  }

  async #join(wanted: boolean): Promise<void> {
    if (this.#isJoined === wanted) return;
    const { layer, classes } = this.#graft as Graft;
    const { native } = this.#model;
    await callNative(() => (wanted ? native.joinSourceHead(layer) : native.partSourceHead(layer, classes)));
    this.#isJoined = wanted;
    await this.#model.summary();
  }
}

/** The Fisher information of the source on the retained images. */
async function addFisher(
  model: Model,
  { samples, isLabelled }: RetainSet,
  reading: Reading,
  { seed, signal }: Options,
): Promise<void> {
  const preprocess = nativePreprocess(reading.preprocessing);
  const loader = new BatchLoader(samples, { ...reading, view: 'eval', ...(signal ? { signal } : {}) });
  for await (const { data, shape, labels } of loader) {
    throwIfAborted(signal);
    const target = { data: labels, shape: [labels.length], dtype: 'int32' as const };
    await callNative(() =>
      model.native.addFisher({
        inputs: [{ data, shape, dtype: 'uint8' }],
        ...(isLabelled ? { target } : {}),
        ...{ preprocess, seed },
      }),
    );
  }
}

/** Of the main output, where there are several. */
async function logitsOf(model: Model, image: Tensor): Promise<Float32Array> {
  const output = await callNative(() => model.native.forward([image]));
  return ((Array.isArray(output) ? output[0] : output) as Tensor).data as Float32Array;
}

/** What the source says of an image of noise: the joined head must say the same. */
class Witness {
  readonly #image: Tensor;
  readonly #said: Float32Array;

  private constructor(image: Tensor, said: Float32Array) {
    this.#image = image;
    this.#said = said;
  }

  static async of(model: Model, side: number): Promise<Witness> {
    const data = Float32Array.from({ length: 3 * side * side }, (_, i) => Math.sin(i * 12.9898) * 1.5);
    const image: Tensor = { data, shape: [1, 3, side, side], dtype: 'float32' };
    return new Witness(image, await logitsOf(model, image));
  }

  async compare(model: Model, { classes, layer }: Graft): Promise<void> {
    const says = (await logitsOf(model, this.#image)).subarray(classes);
    const largest = this.#said.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
    const isSame =
      says.length === this.#said.length &&
      says.every((value, i) => Math.abs(value - (this.#said[i] as number)) <= 1e-3 * largest);
    if (isSame) return;
    throw new TorchgraftError(
      'NO_HEAD',
      `fineTune: \`distillation\` cannot keep the source's head beside the new one in ${layer}: its outputs would be others. ` +
        'Use `regularisation` instead.',
    );
  }
}
