/** Two realms and the main one, one after the other and side by side; prints what each came to as JSON. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import * as library from '../lib/index.js';
import { runInRealm } from './realm.js';

const [backbone, folder, image, out] = process.argv.slice(2);
const bytes = [...readFileSync(image)];
const given = (name, baselines = 'none') => ({
  backbone,
  folder,
  image,
  bytes,
  out: join(out, name),
  baselines,
});
const warnings = [];
process.on('warning', ({ name, message }) => {
  if (name !== 'ExperimentalWarning') warnings.push(message);
});

const source = readFileSync(fileURLToPath(new URL('realm-program.js', import.meta.url)), 'utf8');
const first = await runInRealm(source);
const alone = await first.run(given('first', 'measure'));
const second = await runInRealm(source);
const beside = await Promise.all([first.run(given('again')), second.run(given('second'))]);
// Node warns of more than ten listeners on `process`.
const addon = "import { loadAddon } from '../lib/addon.js'; export const live = loadAddon().live();";
for (let i = 0; i < 12; i++) await runInRealm(addon);

/** The library in the main realm, given values of another, as where a runner externalises packages. */
const context = vm.createContext({ bytes, image });
const foreign = vm.runInContext(
  `({
    bytes: Uint8Array.from(bytes),
    raw: { data: new Uint8ClampedArray(96 * 96 * 3).fill(90), width: 96, height: 96, channels: 3 },
    input: { data: new Float32Array(3 * 96 * 96), shape: [1, 3, 96, 96], dtype: 'float32' },
    shared: { data: new Float32Array(new SharedArrayBuffer(4 * 3 * 96 * 96)), shape: [1, 3, 96, 96], dtype: 'float32' },
    list: [image],
    options: { top: 1 },
    pattern: /^fc\\./,
    scores: { logits: Float32Array.of(1, 0, 0, 1), labels: Int32Array.of(0, 1), options: { classes: ['a', 'b'] } },
    error: new Error('of another realm'),
    onBatch: () => { throw new Error('thrown in onBatch'); },
  })`,
  context,
);
const classifier = await library.loadClassifier(join(out, 'first.pt'), { device: 'cpu', threads: 1 });
const predictions = await classifier.predict([...foreign.list, foreign.bytes, foreign.raw], foreign.options);
const listed = await classifier.predict(foreign.list, foreign.options);
const outputs = await Promise.all([foreign.input].map((input) => classifier.model.forward([input])));
const shared = await classifier.model.forward([foreign.shared]);
const reason = AbortSignal.abort(foreign.error);
const stopped = await classifier
  .predict(foreign.list, { signal: reason })
  .catch(({ code, cause }) => [code, cause === foreign.error]);
const { logits, labels, options } = foreign.scores;
const mixed = {
  top: [...predictions, ...listed].map(({ top }) => top[0].class),
  isSame: Array.from(outputs[0].data).join() === Array.from(shared.data).join(),
  selected: classifier.model.select(foreign.pattern),
  accuracy: library.classificationMetrics(logits, labels, 0.5, options).accuracy,
  interval: library.bootstrapInterval(2, () => 1, { strata: labels }).value,
  stopped,
};
await classifier.dispose();
const model = await library.loadModel(foreign.bytes).catch(({ code }) => code);
process.stdout.write(JSON.stringify({ alone, beside, mixed, model, warnings }));
