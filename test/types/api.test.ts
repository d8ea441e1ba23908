/** Calls that must not compile. `npm run check` type-checks this file: an expectation that is not met fails there. */
import t from 'tap';
import {
  bootstrapInterval,
  type ClassificationScores,
  classificationStatistic,
  createPredictor,
  createTrainer,
  type FineTuneResult,
  findLearningRate,
  fineTune,
  imageFolder,
  imageManifest,
  isClassified,
  loadClassifier,
  loadModel,
  type NamedMetrics,
  search,
  type Task,
  tuneThreshold,
  writeReport,
} from '../../src/index.js';

function misuseMetrics(scores: ClassificationScores, named: NamedMetrics): void {
  // @ts-expect-error no such metric
  classificationStatistic('f1', scores);
  const { low } = bootstrapInterval(3, classificationStatistic('macroF1', scores), { strata: scores.labels });
  // @ts-expect-error may be undefined of every resample
  low.toFixed(2);
  // @ts-expect-error may be null
  named.valRocAuc.toFixed(2);
  // @ts-expect-error truths are bytes
  tuneThreshold(new Float32Array(1), [1], { recall: 0.9 });
  // @ts-expect-error of recall or precision
  tuneThreshold(new Float32Array(1), new Uint8Array(1), { f1: 0.9 });
}

async function misuse(): Promise<void> {
  // @ts-expect-error a path or bytes
  const model = await loadModel(7);
  // @ts-expect-error classes are needed
  await model.replaceHead({});
  // @ts-expect-error no such option
  await model.replaceHead({ classes: 2, class: 3 });
  // @ts-expect-error a selection, not a number
  await model.freeze(3);
  await model.freeze({ last: 2 });
  await model.unfreeze([/^fc/, 'layer3.*']);
  // @ts-expect-error read-only
  model.bytes = 0;

  const data = await imageFolder('images', { validation: 0.2 });
  const folder = await imageFolder('images');
  for await (const { validation } of fineTune(model, folder)) validation.accuracy.toFixed(2);
  const awaited = await fineTune(model, folder);
  awaited.best.validation.accuracy.toFixed(2);
  // @ts-expect-error what is awaited has ended
  awaited.result;
  const numbers = await imageManifest('numbers.csv', { task: 'regression' });
  for await (const { validation } of fineTune(model, numbers)) {
    validation.mae.toFixed(2);
    // @ts-expect-error of numbers there is none
    validation.accuracy;
  }
  const labels = fineTune(model, await imageManifest('labels.csv', { task: 'multi-label' }));
  labels.result?.best.validation.subsetAccuracy.toFixed(2);
  // @ts-expect-error of several labels there is none
  labels.result?.best.validation.accuracy;
  // @ts-expect-error labels are no numbers
  const wrong: FineTuneResult<'regression'> | undefined = labels.result;
  for await (const { validation } of fineTune(model, await imageManifest('list.csv'))) {
    validation.loss.toFixed(2);
    // @ts-expect-error a list may be of any task
    validation.accuracy;
    if (isClassified(validation)) validation.accuracy.toFixed(2);
  }
  const any: FineTuneResult<Task> | undefined = fineTune(model, folder).result;
  await writeReport('report.html', { model, data: folder, result: any ?? (wrong as never) });
  // @ts-expect-error no such task
  await imageManifest('list.csv', { task: 'detection' });
  // @ts-expect-error a folder has one class an image
  await imageFolder('images', { task: 'regression' });

  // @ts-expect-error no such strategy
  fineTune(model, data, { strategy: 'tail' });
  fineTune(model, data, { strategy: 'last:2', optimizer: { kind: 'sgd', nesterov: true }, augment: 'none' });
  await findLearningRate(model, data, { strategy: 'full', sweep: { steps: 50 } });
  // @ts-expect-error no such option of the sweep
  await findLearningRate(model, data, { sweep: { step: 50 } });
  await search('model.pt', data, {
    folder: 'out',
    space: { epochs: { low: 1, high: 9 }, strategy: ['last:3'] },
  });
  // @ts-expect-error a folder is needed
  await search('model.pt', data, { trials: 3 });
  // @ts-expect-error all trials share their seed
  await search('model.pt', data, { folder: 'out', space: { seed: [1, 2] } });
  // @ts-expect-error no such strategy
  await search('model.pt', data, { folder: 'out', space: { strategy: ['tail'] } });
  // @ts-expect-error no such optimizer option
  fineTune(model, data, { optimizer: { kind: 'sgd', beta1: 0.9 } });
  // @ts-expect-error data and model the other way round
  fineTune(data, model);

  const trainer = await createTrainer(model, { loss: 'def loss(output, target):\n    return output.sum()' });
  // @ts-expect-error a target is needed
  await trainer.step({ inputs: [] });

  const classifier = await loadClassifier('model.pt');
  // @ts-expect-error a list of images
  await classifier.predict('image.jpg');
  const [prediction] = await classifier.predict(['image.jpg']);
  // @ts-expect-error there may be none
  prediction.top;

  // @ts-expect-error no such precision
  await createPredictor('model.pt', { precision: 'int4' });
  const predictor = await createPredictor('model.pt', {
    maxBatch: 8,
    maxDelayMs: 0.5,
    precision: 'bfloat16',
  });
  // @ts-expect-error one image
  await predictor.predict(['image.jpg']);
  // @ts-expect-error a list of images
  await predictor.predictMany('image.jpg');
  // @ts-expect-error bytes, not a picture with its size
  await predictor.predictPixels({ data: new Uint8Array(3), width: 1, height: 1, channels: 3 });
  // @ts-expect-error a file
  await predictor.swap();
  const { top, logits } = await predictor.predict('image.jpg', { signal: new AbortController().signal });
  const { p99 }: { p99: number } = predictor.stats().latencyMs.total;
  // @ts-expect-error read-only
  predictor.card = { top, logits, p99 };
}

t.test('the wrong calls above are refused by the compiler', async (t) => {
  t.type(misuse, 'function');
  t.type(misuseMetrics, 'function');
});
