// Fine-tunes a TorchScript model on a folder of images and saves it.
//
//     node examples/train.ts [model.pt] [folder] [out.pt] [epochs]

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fineTune, imageFolder, loadModel, perClassTable } from 'torchgraft';

const [file = 'assets/backbone.pt', folder = 'assets/defects', out = 'runs/defects.pt', epochs = '3'] =
  process.argv.slice(2);

const data = await imageFolder(folder);
const model = await loadModel(file);
for (const note of [...model.notices, ...data.warnings]) console.log(`note: ${note}`);

// Ctrl-C stops within a batch; the model then has the weights of the best epoch so far.
const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort());

const training = fineTune(model, data, {
  epochs: Number(epochs),
  strategy: 'full',
  preprocessing: { size: 96, resize: 96 },
  earlyStopping: { metric: 'valMacroF1', patience: 3 },
  signal: interrupt.signal,
});
for await (const { epoch, trainLoss, validation, isBest } of training) {
  const figures = `train loss ${trainLoss?.toFixed(4)}, val accuracy ${validation.accuracy.toFixed(4)}`;
  console.log(`epoch ${epoch}: ${figures}${isBest ? ' (best)' : ''}`);
}
if (training.result) console.log(perClassTable(training.result.best.validation));

await mkdir(dirname(out), { recursive: true });
await model.save(out);
await model.dispose();
console.log(`saved ${out}`);
