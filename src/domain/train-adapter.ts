import { permutation } from '../data/random.js';
import { throwIfAborted } from '../errors.js';
import { loadModel } from '../model.js';
import type { Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import type { LabelledRows } from '../probe/folds.js';
import { type Matrix, pickRows, scoresOf } from '../probe/linear.js';
import type { LinearMap } from '../probe/linear-file.js';
import { createTrainer, type Trainer } from '../trainer.js';
import { adapterFile } from './adapter-file.js';
import { domainLoss, type TrainedMethod } from './losses.js';

/** At the first step; at a share p of the steps (1 + 10 p)^-0.75 of it. Both, and momentum 0.9, as in Ganin et al. (2016). */
const learningRate = 0.01;
/** Steps between two measurements of a balanced weight. */
const balanceEvery = 10;
/** Largest 2-norm of a step's gradient, so that a distance that is large at first cannot throw the classifier away. */
const clipNorm = 5;

/** How an adapter is trained. */
export interface AdapterSettings {
  method: TrainedMethod;
  /** Optimizer steps. */
  steps: number;
  /** Rows of each domain in a step. */
  batchSize: number;
  /** The strength of the method's term once it is fully on; `balanced`: so that the term is as large as the cross-entropy. */
  weight: number | 'balanced';
  /** Smallest probability of a pseudo-label. */
  confidence: number;
  seed: number;
  signal: AbortSignal | undefined;
}

/**
 * The classifier that a method makes of `start`: both domains' features, standardised alike, go through a linear transform
 * that begins as the identity, so that it begins as the source's classifier, and ends as one linear map again.
 * Its term, whichever it is, grows from 0 to its weight as Ganin et al. (2016) let DANN's: 2 / (1 + exp(-10 p)) - 1.
 */
export async function trainAdapter(
  source: LabelledRows,
  target: Matrix,
  start: LinearMap,
  { method, steps, batchSize, weight, confidence, seed, signal }: AdapterSettings,
): Promise<LinearMap> {
  const { columns } = target;
  await using adapter = await loadModel(adapterFile(start, seed), { device: 'cpu' });
  const trainer = await createTrainer(adapter, {
    loss: domainLoss(method, { classes: start.bias.length, features: columns, confidence }),
    optimizer: { kind: 'sgd', momentum: 0.9 },
    ...{ learningRate, clipNorm, seed, precision: 'float32' },
  });
  const ofSource = rowsInTurn(source.labels.length, batchSize, seed);
  const ofTarget = rowsInTurn(target.rows, batchSize, seed + 1);
  let full = weight === 'balanced' ? 0 : weight;
  for (let step = 0; step < steps; step++) {
    throwIfAborted(signal);
    const progress = step / steps;
    const batch = joinBatch(source, ofSource(), target, ofTarget());
    if (weight === 'balanced' && step % balanceEvery === 0) full = await balancedWeight(trainer, batch);
    const strength = full * (2 / (1 + Math.exp(-10 * progress)) - 1);
    await trainer.step({
      inputs: [...batch.inputs, { data: Float32Array.of(strength), shape: [1], dtype: 'float32' }],
      target: batch.target,
      factor: (1 + 10 * progress) ** -0.75,
    });
  }
  const [transform, shift, weights, bias] = await callNative(() =>
    adapter.native.values(['transform', 'shift', 'weight', 'bias']),
  );
  return await foldAdapter(
    { weight: transform?.data as Float32Array, bias: shift?.data as Float32Array },
    { weight: weights?.data as Float32Array, bias: bias?.data as Float32Array },
  );
}

/** The classifier behind the transform as one map: W (B x + s) + b = (W B) x + (W s + b). */
async function foldAdapter(transform: LinearMap, classifier: LinearMap): Promise<LinearMap> {
  const [columns, classes] = [transform.bias.length, classifier.bias.length];
  const turned = new Float32Array(columns * columns);
  for (let row = 0; row < columns; row++) {
    for (let i = 0; i < columns; i++)
      turned[i * columns + row] = transform.weight[row * columns + i] as number;
  }
  const rows = { data: classifier.weight, rows: classes, columns };
  const weight = await scoresOf({ weight: turned, bias: new Float32Array(columns) }, rows);
  const shifted = await scoresOf(classifier, { data: transform.bias, rows: 1, columns });
  return { weight, bias: shifted };
}

/**
 * The weight with which the term is as large as the cross-entropy of this batch. Sun and Saenko (2016) set CORAL's so that
 * both losses are about the same at the end of training; that end is reached here by measuring on the way.
 */
export async function balancedWeight(trainer: Trainer, batch: Batch): Promise<number> {
  const at = async (strength: number) => {
    const given: Tensor = { data: Float32Array.of(strength), shape: [1], dtype: 'float32' };
    return (await trainer.evaluate({ ...batch, inputs: [...batch.inputs, given] })).loss;
  };
  const own = await at(0);
  const term = (await at(1)) - own;
  return term > 0 ? own / term : 0;
}

/** Indices of the next rows, each time; a new order when all have had their turn. */
function rowsInTurn(count: number, batchSize: number, seed: number): () => Int32Array {
  const size = Math.min(count, batchSize);
  let [pass, at] = [0, 0];
  let order = permutation(count, seed, pass);
  return () => {
    if (at + size > count) {
      pass += 1;
      at = 0;
      order = permutation(count, seed, pass);
    }
    at += size;
    return order.subarray(at - size, at);
  };
}

/** Rows of both domains, as one input. */
interface Batch {
  inputs: Tensor[];
  /** Classes of the source's rows, -1 for the target's. */
  target: Tensor;
}

function joinBatch(source: LabelledRows, ofSource: Int32Array, target: Matrix, ofTarget: Int32Array): Batch {
  const { columns } = target;
  const rows = ofSource.length + ofTarget.length;
  const data = new Float32Array(rows * columns);
  data.set(pickRows(source.features, ofSource).data);
  data.set(pickRows(target, ofTarget).data, ofSource.length * columns);
  const labels = new Int32Array(rows).fill(-1);
  for (const [at, row] of ofSource.entries()) labels[at] = source.labels[row] as number;
  return {
    inputs: [{ data, shape: [rows, columns], dtype: 'float32' }],
    target: { data: labels, shape: [rows], dtype: 'int32' },
  };
}
