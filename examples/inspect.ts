// What there is to know of a TorchScript model before training it.
//
//     node examples/inspect.ts [model.pt]

import { loadModel, modelTable } from 'torchgraft';

const [file = 'assets/backbone.pt'] = process.argv.slice(2);

const model = await loadModel(file, { device: 'cpu', threads: 1 });
const summary = await model.summary();
console.log(modelTable(summary));
for (const { module, kind, inFeatures, outFeatures } of summary.heads) {
  console.log(`head: ${module} (${kind}, ${inFeatures} -> ${outFeatures})`);
}
console.log(`the last two layers: ${model.select({ last: 2 }).join(', ')}`);
for (const note of model.notices) console.log(`note: ${note}`);
await model.dispose();
