/** Losses and validators of domain adaptation beside PyTorch and numpy, and the exact reversal of gradients. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { adapterFile } from '../src/domain/adapter-file.js';
import { votersOf } from '../src/domain/judge.js';
import { domainLoss, type TrainedMethod, trainedMethods } from '../src/domain/losses.js';
import { balancedWeight } from '../src/domain/train-adapter.js';
import {
  agreementsOfEach,
  informationOfEach,
  meanEntropy,
  mutualInformation,
  predictedShares,
  softNeighbourhoodDensity,
  totalVariation,
} from '../src/domain/validators.js';
import { createTrainer, loadModel, type Model, type Tensor, type Trainer } from '../src/index.js';

const reference = JSON.parse(
  gunzipSync(readFileSync(fileURLToPath(new URL('./fixtures/domain.json.gz', import.meta.url)))).toString(),
) as {
  classes: number;
  features: number;
  strength: number;
  confidence: number;
  source: number[];
  target: number[];
  labels: number[];
  weight: number[];
  bias: number[];
  losses: Record<Exclude<TrainedMethod, 'dann'>, number>;
  crossEntropy: number;
  probabilities: number[];
  entropy: number;
  information: number;
  density: number;
};
const { classes, features, confidence } = reference;
const start = { weight: Float32Array.from(reference.weight), bias: Float32Array.from(reference.bias) };
const rows = (reference.source.length + reference.target.length) / features;
const x: Tensor = {
  data: Float32Array.from([...reference.source, ...reference.target]),
  shape: [rows, features],
  dtype: 'float32',
};
const target: Tensor = {
  data: Int32Array.from({ length: rows }, (_, row) => reference.labels[row] ?? -1),
  shape: [rows],
  dtype: 'int32',
};
const strength = (value: number): Tensor => ({ data: Float32Array.of(value), shape: [1], dtype: 'float32' });

async function open(
  t: { teardown(free: () => unknown): unknown },
  loss: string,
): Promise<{ trainer: Trainer; adapter: Model }> {
  const adapter = await loadModel(adapterFile(start, 3), { device: 'cpu', threads: 1 });
  t.teardown(() => adapter.dispose());
  // Of two batches only the first comes, so that its gradient is still there.
  const trainer = await createTrainer(adapter, { loss, accumulate: 2 });
  return { trainer, adapter };
}

t.test('losses equal those of the papers, to 1e-6', async (t) => {
  for (const method of trainedMethods) {
    const { trainer, adapter } = await open(t, domainLoss(method, { classes, features, confidence }));
    if (method === 'dann') {
      // A discriminator that says nothing: log 2, whatever the strength.
      const zeros = { data: new Float32Array(128), shape: [1, 128], dtype: 'float32' as const };
      await adapter.native.setValues(['domain_weight'], [zeros]);
    }
    const expected =
      method === 'dann' ? reference.crossEntropy + Math.LN2 : reference.losses[method as 'coral'];
    const { loss } = await trainer.evaluate({ inputs: [x, strength(reference.strength)], target });
    t.ok(Math.abs(loss - expected) < 1e-6, `${method}: ${loss} beside ${expected}`);
    const { loss: without } = await trainer.evaluate({ inputs: [x, strength(0)], target });
    const alone = method === 'dann' ? expected : reference.crossEntropy;
    t.ok(Math.abs(without - alone) < 1e-6, `${method} at strength 0: ${without} beside ${alone}`);
    if (method !== 'dann') t.ok(Math.abs(expected - alone) > 1e-3, `${method}: the term counts`);
  }
});

t.test(
  'the reversed gradient is -lambda times the gradient, to the last bit, and the value is unchanged',
  async (t) => {
    const domain = classes + features;
    const loss = `def loss(output, target):
    return output[:, ${domain}].sum()`;
    const parameters = ['transform', 'shift', 'inner_weight', 'domain_weight'];
    const at = async (lambda: number) => {
      const { trainer, adapter } = await open(t, loss);
      await trainer.step({ inputs: [x, strength(lambda)], target });
      const gradients = await adapter.native.gradients(parameters);
      const { logits } = await trainer.evaluate({ inputs: [x, strength(lambda)], target });
      const values = (logits.data as Float32Array).filter((_, i) => i % (domain + 2) === domain);
      return { gradients: gradients.map((tensor) => Array.from(tensor?.data as Float32Array)), values };
    };
    // -(-1) times: what it would be without the reversal.
    const plain = await at(-1);
    t.ok(plain.gradients.every((gradient) => gradient.some((value) => value !== 0)));
    for (const lambda of [0.25, 0.5, 1, 2]) {
      const { gradients, values } = await at(lambda);
      t.same(values, plain.values, `the value with ${lambda}`);
      for (const i of [0, 1]) {
        t.same(
          gradients[i],
          (plain.gradients[i] as number[]).map((value) => -lambda * value),
          `${parameters[i]}, ${lambda}`,
        );
      }
      t.same(
        gradients.slice(2),
        plain.gradients.slice(2),
        'the discriminator learns as if nothing were reversed',
      );
    }
    const { gradients } = await at(0.3);
    const largest = Math.max(...(plain.gradients[0] as number[]).map(Math.abs));
    for (const [i, value] of (plain.gradients[0] as number[]).entries()) {
      const found = gradients[0]?.[i] as number;
      if (Math.abs(found + 0.3 * value) > 1e-6 * largest) t.fail(`${found} beside ${-0.3 * value}`);
    }
  },
);

const meanOf = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;

t.test('a balanced weight makes the term as large as the cross-entropy', async (t) => {
  const { trainer } = await open(t, domainLoss('coral', { classes, features, confidence }));
  const weight = await balancedWeight(trainer, { inputs: [x], target });
  const { loss } = await trainer.evaluate({ inputs: [x, strength(weight)], target });
  t.ok(Math.abs(loss - 2 * reference.crossEntropy) < 1e-5, `${loss} beside ${reference.crossEntropy}`);
  // Both domains alike: nothing to weigh.
  const half = reference.source.slice(0, features * 4);
  const alike = {
    data: Float32Array.from([...half, ...half]),
    shape: [8, features],
    dtype: 'float32' as const,
  };
  const labels = Int32Array.from([...reference.labels.slice(0, 4), -1, -1, -1, -1]);
  const none = await balancedWeight(trainer, {
    inputs: [alike],
    target: { data: labels, shape: [8], dtype: 'int32' },
  });
  t.equal(none, 0);
});

t.test('validators equal numpy, to 1e-6', async (t) => {
  const probabilities = Float32Array.from(reference.probabilities);
  for (const [name, found, expected] of [
    ['entropy', meanEntropy(probabilities, classes), reference.entropy],
    ['information', mutualInformation(probabilities, classes), reference.information],
    ['density', softNeighbourhoodDensity(probabilities, classes), reference.density],
    ['mean of each', meanOf(informationOfEach(probabilities, classes)), reference.information],
  ] as const) {
    t.ok(Math.abs(found - expected) < 1e-6, `${name}: ${found} beside ${expected}`);
  }
});

t.test('agreement is with the class of the mean probability', (t) => {
  // Two of three say 0 of the first image, surely; of the second one is sure enough of 1 to outweigh two that lean to 0.
  const all = [
    Float32Array.of(0.9, 0.1, 0.55, 0.45),
    Float32Array.of(0.8, 0.2, 0.6, 0.4),
    Float32Array.of(0.3, 0.7, 0, 1),
  ];
  t.same(
    agreementsOfEach(all, 2).map((each) => [...each]),
    [
      [1, 0],
      [1, 0],
      [0, 1],
    ],
  );
  t.same(agreementsOfEach([], 2), []);
  // Without the vote of the others each is right where the voter is.
  const [voter] = all as [Float32Array];
  t.same(
    [...(agreementsOfEach(all, 2, [voter])[0] as Float64Array)],
    [...voter.filter((_, at) => at % 2 === 0)].map(() => 1),
  );
  t.end();
});

t.test(
  'a method that has collapsed has no vote, nor do those who are sure of themselves set the measure',
  (t) => {
    const [varied, same, sure] = [
      Float32Array.of(0.8, 0.2, 0.2, 0.8),
      Float32Array.of(0.9, 0.1, 0.9, 0.1),
      Float32Array.of(1, 0, 0, 1),
    ];
    const voters = votersOf(
      [
        { method: 'sourceOnly', probabilities: varied },
        { method: 'coral', probabilities: same },
        { method: 'mcc', probabilities: sure },
      ],
      2,
    );
    t.same(voters, [varied, sure]);
    t.end();
  },
);

t.test('validators of predictions that are certain, of none, and of a collapse', async (t) => {
  const certain = Float32Array.of(1, 0, 0, 1, 1, 0, 0, 1);
  t.equal(meanEntropy(certain, 2), 0);
  t.equal(mutualInformation(certain, 2), Math.LN2);
  t.same(predictedShares(certain, 2), [0.5, 0.5]);
  // Each image has one neighbour that is like it, and two that are not.
  t.ok(softNeighbourhoodDensity(certain, 2) < 1e-6);
  const collapsed = Float32Array.of(1, 0, 1, 0, 1, 0, 1, 0);
  t.equal(mutualInformation(collapsed, 2), 0);
  t.ok(
    Math.abs(softNeighbourhoodDensity(collapsed, 2) - Math.log(3)) < 1e-12,
    'density takes it for the best',
  );
  t.equal(totalVariation([1, 0], predictedShares(certain, 2)), 0.5);
  const none = new Float32Array(8).fill(0.5);
  t.equal(meanEntropy(none, 2), Math.LN2);
  t.equal(mutualInformation(none, 2), 0);
});
