// Makes a copy of a model of the shared data that carries classes and preprocessing, as what torchgraft saves does.
// Arguments: model, normalisation, resize, out.
import { completePreprocessing, loadModel, normalisation } from '../../lib/index.js';

const [source, kind, resize, out] = process.argv.slice(2);
const model = await loadModel(source, { device: 'cpu', threads: 1 });
const { heads } = await model.summary();
await model.save(out, {
  format: 1,
  classes: Array.from({ length: heads[0].outFeatures }, (_, index) => `class ${index}`),
  preprocessing: completePreprocessing({ ...normalisation(kind), resize: Number(resize) }),
  provenance: { source: model.origin },
  metrics: {},
});
await model.dispose();
