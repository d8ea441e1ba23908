import type { Features } from '../probe/features.js';
import type { Matrix } from '../probe/linear.js';
import type { LinearMap } from '../probe/linear-file.js';
import { matrixOf } from '../probe/result.js';
import { measureColumns, standardise, unstandardise } from '../probe/standardise.js';
import type { TrainedMethod } from './losses.js';
import { type AdapterSettings, trainAdapter } from './train-adapter.js';

/** Strengths of the terms unless told: 1, as in the Transfer-Learning-Library. None fits the CORAL loss, divided by 4 d^2. */
const weights: Record<TrainedMethod, AdapterSettings['weight']> = {
  ...{ coral: 'balanced', mmd: 1, dann: 1, mcc: 1, pseudoLabels: 1 },
};

/** Features of both domains and the source's classifier: all that is known when adapting. */
export interface Known {
  source: Features;
  /** `train` is adapted to, `val` held out; labels are all 0. */
  target: Features;
  start: LinearMap;
}

/**
 * Statistics matching: each feature of the target is scaled and shifted so that its mean and standard deviation become the
 * source's, folded into the classifier's weights.
 */
export function matchStatistics({ source, target, start }: Known): LinearMap {
  return unstandardise(
    standardisedMap(start, matrixOf(source.train)),
    measureColumns(matrixOf(target.train)),
  );
}

/** The classifier that a trained method comes to. */
export async function adaptMap(
  { source, target, start }: Known,
  method: TrainedMethod,
  settings: Omit<AdapterSettings, 'method' | 'weight'> & { weight: number | undefined },
): Promise<LinearMap> {
  const own = matrixOf(source.train);
  const measured = measureColumns(own);
  const map = await trainAdapter(
    { features: standardise(own, measured), labels: source.train.labels },
    standardise(matrixOf(target.train), measured),
    standardisedMap(start, own),
    { ...settings, method, weight: settings.weight ?? weights[method] },
  );
  return unstandardise(map, measured);
}

/**
 * The map of standardised features that gives what `map` gives of plain ones. A feature that is the same for all images of
 * the source, as of a dead ReLU, is taken for that value throughout: its weight was never learnt.
 */
function standardisedMap({ weight, bias }: LinearMap, source: Matrix): LinearMap {
  const { mean, std } = measureColumns(source);
  const { columns } = source;
  const factors = Array.from(std, (value, column) => (isConstant(source, column) ? 0 : value));
  return {
    weight: weight.map((value, at) => value * (factors[at % columns] as number)),
    bias: bias.map((value, row) => {
      let shift = 0;
      for (let i = 0; i < columns; i++) shift += (weight[row * columns + i] as number) * (mean[i] as number);
      return value + shift;
    }),
  };
}

function isConstant({ data, columns }: Matrix, column: number): boolean {
  for (let at = column; at < data.length; at += columns) if (data[at] !== data[column]) return false;
  return true;
}
