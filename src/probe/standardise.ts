import type { Matrix } from './linear.js';
import type { LinearMap } from './linear-file.js';

/** Mean and standard deviation of each feature, [d]. */
export interface Standardisation {
  mean: Float64Array;
  std: Float64Array;
}

/**
 * Of each column; dividing by n, as scikit-learn's StandardScaler. A feature that is the same for all images, up to
 * float32's rounding, has standard deviation 1, so that it becomes 0 and not noise.
 */
export function measureColumns({ data, rows, columns }: Matrix): Standardisation {
  const mean = new Float64Array(columns);
  const std = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++)
      mean[i] = (mean[i] as number) + (data[row * columns + i] as number) / rows;
  }
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++) {
      std[i] = (std[i] as number) + ((data[row * columns + i] as number) - (mean[i] as number)) ** 2 / rows;
    }
  }
  for (let i = 0; i < columns; i++) {
    const value = Math.sqrt(std[i] as number);
    std[i] = value > 1e-6 * Math.abs(mean[i] as number) ? value : 1;
  }
  return { mean, std };
}

/** (x - mean) / std of each column. */
export function standardise({ data, rows, columns }: Matrix, { mean, std }: Standardisation): Matrix {
  const values = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++) {
      const at = row * columns + i;
      values[at] = ((data[at] as number) - (mean[i] as number)) / (std[i] as number);
    }
  }
  return { data: values, rows, columns };
}

/** The map of plain features that gives what `map` gives of standardised ones. */
export function unstandardise(map: LinearMap, { mean, std }: Standardisation): LinearMap {
  const columns = mean.length;
  const weight = new Float32Array(map.weight.length);
  const bias = map.bias.map((start, output) => {
    let shift = 0;
    for (let i = 0; i < columns; i++) {
      const value = (map.weight[output * columns + i] as number) / (std[i] as number);
      weight[output * columns + i] = value;
      shift += value * (mean[i] as number);
    }
    return start - shift;
  });
  return { weight, bias };
}
