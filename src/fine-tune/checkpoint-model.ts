import type { Model } from '../model.js';
import { digestWeights } from '../weights-digest.js';

/** The model that a run began with, as its checkpoint keeps it. Plain JSON. */
export interface CheckpointModel {
  /** Of the file, without folders. */
  name: string;
  /** Shapes of its parameters, by name. */
  parameters: Record<string, number[]>;
  /** SHA-256 of the file's bytes, and of all weights and buffers before the run. */
  sha256: string;
  weights: string;
}

/** Looks at a model before it gets its head. */
export async function identifyModel(model: Model): Promise<CheckpointModel> {
  const { parameters } = await model.summary();
  return {
    ...model.origin,
    parameters: Object.fromEntries(parameters.map(({ name, shape }) => [name, shape])),
    weights: await digestWeights(model),
  };
}

/**
 * How the model of a checkpoint differs from another, for people; undefined where it does not. The same file will do: what
 * was learnt since it was loaded is replaced by the checkpoint. So will the same weights from another file.
 */
export function differenceOf(before: CheckpointModel, now: CheckpointModel): string | undefined {
  if (before.sha256 === now.sha256 || before.weights === now.weights) return undefined;
  const names = before.name === now.name ? `another ${now.name}` : `${before.name}, and this is ${now.name}`;
  const all = [...new Set([...Object.keys(before.parameters), ...Object.keys(now.parameters)])];
  const isOther = (name: string) => shapeText(before, name) !== shapeText(now, name);
  const others = all.filter(isOther);
  if (others.length === 0) return `${names}: the same layers, with other weights`;
  const some = others
    .slice(0, 3)
    .map((name) => `\`${name}\` was ${shapeText(before, name)} and is ${shapeText(now, name)}`);
  return `${names}: ${others.length} of ${all.length} parameters differ, for example ${some.join('; ')}`;
}

function shapeText({ parameters }: CheckpointModel, name: string): string {
  const shape = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
  return shape ? `[${shape.join(', ')}]` : 'not there';
}
