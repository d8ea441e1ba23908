import '../async-dispose.js';
import type { Sample } from '../data/dataset.js';
import { BatchLoader, type SkippedImage } from '../data/loader.js';
import { nativePreprocess } from '../data/preprocessing.js';
import { invalidValue } from '../errors.js';
import type { Reading } from '../fine-tune/epoch.js';
import type { Model } from '../model.js';
import { copyModel } from '../model-copy.js';
import type { ModelDescription, Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import type { RetainSet } from './retain-set.js';
import { largestOf, logSoftmax, type RetentionPoint, retentionOf } from './retention.js';

/**
 * A copy of a source model with its head, that stays while the model itself gets another: it tells how much of the source
 * task trunks can that were made of it.
 */
export class SourceModel implements AsyncDisposable {
  readonly #copy: Model;
  readonly #set: RetainSet;
  readonly #reading: Reading;
  /** Names of what is the head's, which is never put in. */
  readonly #head: ReadonlySet<string>;
  #labels: Int32Array = new Int32Array();
  #said: Float32Array[] = [];
  /** Images that could not be decoded. */
  skipped: SkippedImage[] = [];
  /** Of the source model itself. */
  before: RetentionPoint = { agreement: 0, divergence: 0 };

  private constructor(copy: Model, set: RetainSet, reading: Reading, head: ReadonlySet<string>) {
    this.#copy = copy;
    this.#set = set;
    this.#reading = reading;
    this.#head = head;
  }

  /** Copies a model that has its head still, and reads what it says of the images. */
  static async of(model: Model, set: RetainSet, reading: Reading): Promise<SourceModel> {
    const source = new SourceModel(await copyModel(model), set, reading, headOf(await model.summary()));
    try {
      await source.#listen();
      return source;
    } catch (error) {
      await source[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Images that can be read. */
  get images(): number {
    return this.#labels.length;
  }

  get labels(): 'given' | 'source' {
    return this.#set.isLabelled ? 'given' : 'source';
  }

  /** What the source model's head says on the trunk of this model, which was made of it. */
  async measure(model: Model): Promise<RetentionPoint> {
    const names = await trunkNames(this.#copy, model, this.#head);
    return this.measureValues(names, await callNative(() => model.native.values(names)));
  }

  /** Likewise, on these values of the trunk. */
  async measureValues(names: string[], values: Tensor[]): Promise<RetentionPoint> {
    await callNative(() => this.#copy.native.setValues(names, values));
    const { logits } = await this.#classify();
    return retentionOf(logits, this.#labels, this.#said);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#copy.dispose();
  }

  async #listen(): Promise<void> {
    const { logits, labels, skipped } = await this.#classify();
    this.skipped = skipped;
    this.#said = logits.map(logSoftmax);
    this.#labels = this.#set.isLabelled ? labels : Int32Array.from(logits, largestOf);
    const outputs = logits[0]?.length ?? 0;
    const stray = this.#labels.find((label) => label >= outputs);
    if (stray !== undefined) {
      throw invalidValue(`retain: a label is ${stray}, but the source model has ${outputs} outputs.`);
    }
    this.before = retentionOf(logits, this.#labels, this.#said);
  }

  /** Logits by image, and labels as they were given. */
  async #classify(): Promise<{ logits: Float32Array[]; labels: Int32Array; skipped: SkippedImage[] }> {
    const { preprocessing } = this.#reading;
    const preprocess = nativePreprocess(preprocessing);
    const loader = new BatchLoader(this.#set.samples satisfies Sample[], { ...this.#reading, view: 'eval' });
    const logits: Float32Array[] = [];
    const labels: number[] = [];
    for await (const batch of loader) {
      const inputs = [{ data: batch.data, shape: batch.shape, dtype: 'uint8' as const }];
      const result = await callNative(() => this.#copy.native.evaluate({ inputs, preprocess }));
      const [count, width] = result.logits.shape as [number, number];
      if (result.logits.shape.length !== 2) {
        throw invalidValue(
          `retain: the source model gives ${result.logits.shape}, expected logits [n, classes].`,
        );
      }
      const data = result.logits.data as Float32Array;
      for (let row = 0; row < count; row++) logits.push(data.slice(row * width, (row + 1) * width));
      labels.push(...batch.labels);
    }
    return { logits, labels: Int32Array.from(labels), skipped: [...loader.skipped] };
  }
}

/** Names of the parameters of the layers that make the main output. */
export function headOf({ heads, parameters }: ModelDescription): Set<string> {
  const layers = heads.filter(({ role }) => role === 'main').map(({ module }) => `${module}.`);
  return new Set(
    parameters
      .map(({ name }) => name)
      .filter((name) =>
        layers.some((layer) => name.startsWith(layer) && !name.slice(layer.length).includes('.')),
      ),
  );
}

/** Names of the floating-point parameters and buffers that both models have, in the same shape, outside of the head. */
export async function trunkNames(first: Model, second: Model, head: ReadonlySet<string>): Promise<string[]> {
  const floatsOf = async (model: Model) => {
    const { parameters, buffers } = await model.summary();
    return [...parameters, ...buffers].filter(({ dtype }) => /float/.test(dtype));
  };
  const shapes = new Map((await floatsOf(second)).map(({ name, shape }) => [name, String(shape)]));
  return (await floatsOf(first))
    .filter(({ name, shape }) => !head.has(name) && shapes.get(name) === String(shape))
    .map(({ name }) => name);
}
