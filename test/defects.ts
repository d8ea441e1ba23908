/** What the tests of fine-tuning share: a small part of the embedded photographs, small models, and their bits. */
import { cpSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type EpochReport,
  type FineTuneOptions,
  fineTune,
  type ImageDataset,
  imageFolder,
  type LoadOptions,
  loadModel,
  type Model,
  type Sample,
  type Task,
} from '../src/index.js';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** 383,034 parameters, 96 px. */
export const backbone = path('../assets/backbone.pt');
export const defectsFolder = path('../assets/defects');
/** Convolution, residual block with BatchNorm, dropout, Linear `fc`: 20 KB, any image size. */
export const residual = path('fixtures/models/residual.pt');
export const fixtureModel = (name: string) => path(`fixtures/models/${name}.pt`);

const everything = await imageFolder(defectsFolder);

/** Evenly spread over the classes. */
export function defects(train: number, val: number): ImageDataset<'single-label'> {
  const { splits, ...rest } = everything;
  const data = structuredClone({
    ...rest,
    splits: { train: pick(splits.train, train), val: pick(splits.val, val) },
  });
  data.summary.fingerprint = `${train} ${val}`;
  return data;
}

function pick(samples: Sample[], count: number): Sample[] {
  return Array.from({ length: count }, (_, i) => samples[Math.floor((i * samples.length) / count)] as Sample);
}

/** Copies so many of the embedded photographs of each class and split, as train/<class>/* and val/<class>/*. */
export function copyDefects(folder: string, count: number): void {
  for (const split of ['train', 'val']) {
    for (const name of readdirSync(join(defectsFolder, split))) {
      mkdirSync(join(folder, split, name), { recursive: true });
      const files = readdirSync(join(defectsFolder, split, name)).sort();
      for (const file of files.slice(0, count)) {
        cpSync(join(defectsFolder, split, name, file), join(folder, split, name, file));
      }
    }
  }
}

/** Fast and plain: 32 px for the residual model, one thread, no augmentation, and no clock that chooses the precision. */
export const quick = {
  strategy: 'head',
  epochs: 1,
  batchSize: 4,
  threads: 1,
  augment: 'none',
  baselines: 'none',
  precision: 'float32',
  preprocessing: { size: 32, resize: 36 },
} satisfies FineTuneOptions;

interface Teardown {
  teardown(free: () => unknown): unknown;
}

/** Loads a model and disposes it when the test ends. */
export async function open(t: Teardown, file = residual, options: LoadOptions = {}): Promise<Model> {
  const model = await loadModel(file, { device: 'cpu', threads: 1, ...options });
  t.teardown(() => model.dispose());
  return model;
}

/** Runs to the end; the epochs' reports. */
export async function train<T extends Task>(
  model: Model,
  data: ImageDataset<T>,
  options: FineTuneOptions,
): Promise<EpochReport<T>[]> {
  const reports: EpochReport<T>[] = [];
  for await (const report of fineTune(model, data, options)) reports.push(report);
  return reports;
}

/** Every parameter and buffer as bytes in hexadecimal, by name: equal strings are equal bits. */
export async function bitsOf(model: Model): Promise<Record<string, string>> {
  const { parameters, buffers } = await model.summary();
  const names = [...parameters, ...buffers].map(({ name }) => name);
  const values = await model.native.values(names);
  const hex = values.map(({ data: { buffer, byteOffset, byteLength }, shape }) => {
    return `${shape} ${Buffer.from(buffer, byteOffset, byteLength).toString('hex')}`;
  });
  return Object.fromEntries(names.map((name, i) => [name, hex[i] as string]));
}

/** Names of those whose bits differ. */
export function changed(before: Record<string, string>, after: Record<string, string>): string[] {
  return Object.keys({ ...before, ...after })
    .filter((name) => before[name] !== after[name])
    .sort();
}

/** What an epoch came to, without times. */
export function figures({ epoch, trainLoss, trainAccuracy, learningRate, metrics }: EpochReport<Task>) {
  return { epoch, trainLoss, trainAccuracy, learningRate, metrics };
}
