/** Near-duplicates across splits are found whatever was done to the copy, and wrong labels come out on top. */
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import t from 'tap';
import { HashIndex } from '../src/audit/hamming.js';
import { confidentDisagreements } from '../src/audit/label-issues.js';
import { randomIntegers } from '../src/data/random.js';
import { extractFeatures, findLabelIssues, findNearDuplicates, type Sample } from '../src/index.js';
import { torchgraft } from './command-line.js';
import { backbone, defects, defectsFolder, open } from './defects.js';

const changes: Record<string, (image: Sharp) => Sharp> = {
  'saved again': (image) => image.jpeg({ quality: 60 }),
  smaller: (image) => image.resize(72).jpeg({ quality: 90 }),
  'as a PNG, brighter': (image) => image.modulate({ brightness: 1.15 }).png(),
};

t.test('copies in another split are found, other photographs are not', async (t) => {
  const data = defects(60, 60);
  const plain = await findNearDuplicates(data, { threads: 2 });
  t.same(plain.pairs, [], plain.text);
  t.equal(plain.images, 120);
  const folder = t.testdir();
  const copies: Sample[] = [];
  const originals = new Map<string, string>();
  for (const [at, [name, change]] of Object.entries(changes).entries()) {
    for (const sample of [at, at + 20, at + 40].map((index) => data.splits.train[index] as Sample)) {
      const path = join(folder, `${name}-${copies.length}.jpg`);
      await change(sharp(sample.path)).toFile(path);
      copies.push({ path, label: sample.label });
      originals.set(path, sample.path);
    }
  }
  data.splits.val.push(...copies);
  const { pairs, text } = await findNearDuplicates(data, { threads: 2 });
  const found = pairs.map(({ first, second }) => [second.path, first.path]);
  t.same(new Map(found as [string, string][]), originals, 'each with its original, and nothing else');
  t.equal(pairs.length, copies.length);
  t.ok(pairs.every((pair, at) => at === 0 || pair.likeness <= (pairs[at - 1]?.likeness ?? 0)));
  t.match(text, /^9 pairs of images in different splits look the same, for example /);
});

t.test('the index finds what comparing all with all finds', (t) => {
  const next = randomIntegers(3, 0);
  const count = 300;
  const hashes = new Uint32Array(2 * count).map(() => next());
  // Every third hash is the one before it with a few bits turned.
  for (let i = 2; i < count; i += 3) {
    for (const word of [0, 1]) {
      const turned = (1 << (next() % 32)) | (1 << (next() % 32)) | (1 << (next() % 32));
      hashes[2 * i + word] = (hashes[2 * i - 2 + word] as number) ^ turned;
    }
  }
  const bits = (value: number) => (value >>> 0).toString(2).replace(/0/g, '').length;
  const distance = (i: number, j: number) =>
    [0, 1].reduce((sum, word) => {
      const [a, b] = [hashes[2 * i + word] as number, hashes[2 * j + word] as number];
      return sum + bits(a ^ b);
    }, 0);
  const index = new HashIndex(hashes);
  let near = 0;
  for (let at = 0; at < count; at++) {
    const found: [number, number][] = [];
    index.search(hashes, at, 6, (other, apart) => found.push([other, apart]));
    const expected = Array.from(
      { length: count },
      (_, other) => [other, distance(at, other)] as [number, number],
    )
      .filter(([, apart]) => apart <= 6)
      .sort();
    t.same(found.sort(), expected);
    near += expected.length - 1;
  }
  t.ok(near >= 2 * 90, 'there was something to find');
  t.end();
});

t.test('confident disagreements: above the own class threshold of another class', (t) => {
  // Thresholds: class 0 (0.9 + 0.7 + 0.2) / 3 = 0.6, class 1 (0.8 + 0.6) / 2 = 0.7.
  const first = [0.9, 0.7, 0.2, 0.2, 0.4];
  const probabilities = Float32Array.from(first.flatMap((value) => [value, 1 - value]));
  const labels = Int32Array.of(0, 0, 0, 1, 1);
  t.same(confidentDisagreements(probabilities, labels, 2), [{ row: 2, suggested: 1 }]);
  t.end();
});

t.test('labels that were swapped come out on top', async (t) => {
  const data = defects(200, 60);
  const model = await open(t, backbone);
  const swapped = new Set<string>();
  for (let at = 7; at < 200; at += 20) {
    const sample = data.splits.train[at] as Sample;
    sample.label = (sample.label + 3) % data.classes.length;
    swapped.add(sample.path);
  }
  const features = await extractFeatures(model, data, {
    preprocessing: { size: 96, resize: 96 },
    threads: 2,
  });
  const issues = await findLabelIssues(features);
  const hits = issues.slice(0, swapped.size).filter(({ path }) => swapped.has(path)).length;
  t.ok(hits >= 8, `${hits} of the first 10 are among the 10 that were swapped`);
  const found = issues.filter(({ path }) => swapped.has(path)).length;
  t.ok(found >= 8, `${found} of 10 are listed at all`);
  t.ok(issues.length <= 40, `${issues.length} candidates of 200`);
  for (const { given, suggested, probability } of issues) {
    t.not(given, suggested);
    t.ok(probability.suggested >= 0 && probability.given <= 1);
  }
});

t.test('audit tells both, in words and as JSON', async (t) => {
  const args = ['audit', '--data', defectsFolder, '--model', backbone, '--image-size', '96'];
  const { stdout, code } = await torchgraft([...args, '--top', '3']);
  t.equal(code, 0);
  t.match(stdout, /look the same/);
  t.match(stdout, /may have a wrong label, or be hard/);
  const json = JSON.parse((await torchgraft([...args, '--json'])).stdout);
  t.match(json, { pairs: Array, images: 480, skipped: [], labels: [{ path: String, given: String }] });
  const alone = await torchgraft(['audit', '--data', defectsFolder]);
  t.match(alone.stdout, /No labels were looked at: that takes `--model`/);
});
