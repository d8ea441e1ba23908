import { nativePreprocess, type Preprocessing } from '../data/preprocessing.js';
import type { Model } from '../model.js';
import type { Tensor } from '../native.js';
import { callNative } from '../native-call.js';

const repetitions = 9;

/**
 * Milliseconds of a forward of one image, preprocessing included, decoding not: the median of 9, compiled as
 * createPredictor compiles it. The model only predicts afterwards.
 */
export async function measureLatency(model: Model, preprocessing: Preprocessing): Promise<number> {
  const { size } = preprocessing;
  const image: Tensor = {
    data: Uint8Array.from({ length: size * size * 3 }, (_, i) => (i * 37) % 251),
    shape: [1, size, size, 3],
    dtype: 'uint8',
  };
  const preprocess = nativePreprocess(preprocessing);
  await callNative(() => model.native.optimise({ precision: 'auto', example: image, preprocess }));
  const forward = () => callNative(() => model.native.evaluate({ inputs: [image], preprocess }));
  // The first ones of a process are many times slower.
  await forward();
  await forward();
  const times: number[] = [];
  for (let i = 0; i < repetitions; i++) {
    const start = performance.now();
    await forward();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[Math.floor(repetitions / 2)] as number;
}
