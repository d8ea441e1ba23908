/** Near-duplicates across splits are found whatever was done to the copy, and wrong labels come out on top. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import t from 'tap';
import { tellAudit } from '../src/audit/data-audit.js';
import { GreyImage, whole } from '../src/audit/grey-image.js';
import { HashIndex } from '../src/audit/hamming.js';
import { confidentDisagreements } from '../src/audit/label-issues.js';
import { type Compared, findPairs } from '../src/audit/pairs.js';
import { side } from '../src/audit/thumbnail.js';
import { insideBorder } from '../src/audit/windows.js';
import { randomIntegers } from '../src/data/random.js';
import { extractFeatures, findLabelIssues, findNearDuplicates, type Sample } from '../src/index.js';
import { torchgraft } from './command-line.js';
import { backbone, copyDefects, defects, defectsFolder, open } from './defects.js';

/** Side of the embedded photographs. */
const photograph = 112;

const part = (share: number, place: number) => {
  const length = Math.round(photograph * (1 - share));
  const offset = Math.round(place * (photograph - length));
  return { left: offset, top: photograph - length - offset, width: length, height: length };
};

const border = (pixels: number, background: string) => ({
  ...{ left: pixels, right: pixels, top: pixels, bottom: pixels },
  background,
});

const changes: Record<string, (image: Sharp) => Sharp> = {
  'saved again': (image) => image.jpeg({ quality: 60 }),
  smaller: (image) => image.resize(72).jpeg({ quality: 90 }),
  'as a PNG, brighter': (image) => image.modulate({ brightness: 1.15 }).png(),
  mirrored: (image) => image.flop(),
  'cropped by 5 %': (image) => image.extract(part(0.05, 0.2)),
  'cropped by 15 % at a corner': (image) => image.extract(part(0.15, 0)),
  'cropped by 10 %, mirrored': (image) => image.extract(part(0.1, 0.7)).flop(),
  'with a white border': (image) => image.extend(border(11, '#fff')),
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
  t.match(text, /^24 pairs of images in different splits look the same, for example /);
});

t.test('what was mirrored is said to be', async (t) => {
  const data = defects(12, 12);
  const folder = t.testdir();
  const copies = [data.splits.train[3], data.splits.train[4]] as [Sample, Sample];
  const [plain, mirrored] = [join(folder, 'plain.jpg'), join(folder, 'mirrored.jpg')];
  await sharp(copies[0].path).toFile(plain);
  await sharp(copies[1].path).flop().toFile(mirrored);
  data.splits.val.push({ ...copies[0], path: plain }, { ...copies[1], path: mirrored });
  const { pairs } = await findNearDuplicates(data, { threads: 2 });
  const found = new Map(pairs.map(({ second, mirrored: is }) => [second.path, is]));
  t.same([found.get(plain), found.get(mirrored)], [false, true]);
});

t.test('windows: means of parts, also where they cut pixels, and what is inside a border', (t) => {
  const image = new GreyImage([1, 2, 3, 4], 2);
  t.same([...image.means(whole, 2, 2)], [1, 2, 3, 4]);
  t.same([...image.means(whole, 2, 2, true)], [2, 1, 4, 3]);
  t.same([...image.means([0.25, 0, 0.75, 0.5], 1, 1)], [1.5]);
  t.same([...image.means([0, 0.25, 1, 0.75], 1, 1)], [2.5]);
  const framed = Uint8Array.from({ length: 100 }, (_, at) => {
    const [row, column] = [Math.floor(at / 10), at % 10];
    return row < 2 || column > 8 ? 250 : (37 * at) % 200;
  });
  // Two lines at the top, one at the right, and one more that is of both.
  t.same(insideBorder(framed, 10), [0, 0.3, 0.8, 1]);
  t.equal(
    insideBorder(
      Uint8Array.from({ length: 100 }, (_, at) => (37 * at) % 200),
      10,
    ),
    undefined,
  );
  t.same(insideBorder(new Uint8Array(100), 10)?.length, 4, 'no more is taken off than leaves a part of it');
  t.end();
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
    index.search(hashes.subarray(2 * at, 2 * at + 2), 6, (other, apart) => found.push([other, apart]));
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

/** The same picture, whose hash is `turned` bits from the others'. */
const pictured = (split: Compared['split'], turned = 0): Compared => ({
  split,
  plain: [{ window: whole, hash: [2 ** turned - 1, 0], mirrored: [0x5555, 0xffff] }],
  crops: [],
  grey: Uint8Array.from({ length: side * side }, (_, at) => (at * at) % 251),
});

t.test('a pair is of two splits, within the bits, and told once', async (t) => {
  const images = [pictured('train'), pictured('train', 3), pictured('val', 4), pictured('test', 8)];
  const found = await findPairs(images, { bits: 5, least: 0.7 });
  t.same(found.map(({ first, second }) => [first, second]).sort(), [
    [0, 2], // 4 bits
    [1, 2], // 1 bit
    [1, 3], // 5 bits
    [2, 3], // 4 bits; 0 and 3 are 8 apart
  ]);
  for (const { likeness } of found) t.ok(Math.abs(likeness - 1) < 1e-5);
  const noisy = {
    ...pictured('val'),
    grey: Uint8Array.from({ length: side * side }, (_, at) => ((at * at) % 251) / 10 + ((at * 7919) % 193)),
  };
  const [little] = await findPairs([pictured('train'), noisy], { bits: 5, least: 0.01 });
  t.ok((little?.likeness as number) < 0.3, `asked for little, ${little?.likeness} is enough`);
  t.same(await findPairs([pictured('train'), noisy], { bits: 5, least: 0.7 }), []);
  const blank = { ...pictured('val'), grey: new Uint8Array(side * side).fill(90) };
  t.same(await findPairs([pictured('train'), blank], { bits: 5, least: 0.1 }), [], 'none has detail');
});

t.test('a long comparison leaves turns to others, who can stop it', async (t) => {
  // More than two million pairs.
  const images = Array.from({ length: 3000 }, (_, at) => pictured(at < 1500 ? 'train' : 'val'));
  const controller = new AbortController();
  setImmediate(() => controller.abort(new Error('enough')));
  await t.rejects(findPairs(images, { bits: 5, least: 0.7, signal: controller.signal }), {
    code: 'ABORTED',
    cause: { message: 'enough' },
  });
});

t.test('what is told of pairs says how many have different labels', async (t) => {
  const data = defects(60, 60);
  const [first, second] = data.splits.train as [Sample, Sample];
  data.splits.val.push({ ...first }, { ...second, label: (second.label + 1) % data.classes.length });
  const { pairs, text, images } = await findNearDuplicates(data, { threads: 2 });
  t.equal(pairs.length, 2);
  t.match(text, /^2 pairs of .* Keep one of each; in 1 of them the labels differ\.$/);
  t.notMatch(text, first.path, 'no folders of who wrote it');
  t.same(tellAudit({ duplicates: { found: 2, pairs, images, text }, labels: null }), [text]);
  const none = { found: 0, pairs: [], images, text: 'No two images look the same.' };
  t.same(tellAudit({ duplicates: none, labels: null }), []);
});

t.test('an unreadable image fails with its path, or is skipped and listed', async (t) => {
  const data = defects(12, 12);
  const broken = join(t.testdir({ 'broken.jpg': 'no image' }), 'broken.jpg');
  const missing = join(dirname(broken), 'missing.jpg');
  data.splits.val.push({ path: broken, label: 0 }, { path: missing, label: 0 });
  await t.rejects(findNearDuplicates(data, { threads: 2 }), {
    code: 'IMAGE_UNREADABLE',
    message: new RegExp(`Cannot decode the image ${broken}`),
  });
  const { images, skipped } = await findNearDuplicates(data, { threads: 2, unreadable: 'skip' });
  t.equal(images, 24);
  t.match(skipped, [
    { path: broken, reason: /Cannot decode/ },
    { path: missing, reason: /No image at/ },
  ]);
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
  const { issues, accuracy, candidates, images, text } = await findLabelIssues(features);
  const hits = issues.slice(0, swapped.size).filter(({ path }) => swapped.has(path)).length;
  t.ok(hits >= 8, `${hits} of the first 10 are among the 10 that were swapped`);
  const found = issues.filter(({ path }) => swapped.has(path)).length;
  t.ok(found >= 8, `${found} of 10 are listed at all`);
  t.equal(images, 200);
  t.ok(issues.length <= candidates && candidates <= 40, `${candidates} candidates of 200`);
  t.ok(accuracy > 0.5 && accuracy < 1, `${accuracy}`);
  t.match(text, /^\d+ training images may have a wrong label, or be hard/);
  for (const { given, suggested, probability } of issues) {
    t.not(given, suggested);
    t.ok(probability.suggested >= 0 && probability.given <= 1);
  }
});

t.test('a weak probe lists the likeliest alone, and says that it is weak', async (t) => {
  const data = defects(200, 60);
  const model = await open(t, backbone);
  await model.reinitialise(3);
  const features = await extractFeatures(model, data, {
    preprocessing: { size: 32, resize: 32 },
    threads: 2,
  });
  const { issues, candidates, accuracy, text } = await findLabelIssues(features);
  t.ok(accuracy < 0.9, `${accuracy}`);
  t.equal(issues.length, 10, '5 % of 200');
  t.ok(candidates > 10, `${candidates} of random features`);
  t.match(
    text,
    new RegExp(
      `^10 training images .* gets only \\d+ % of unseen images right.* ${candidates - 10} less suspicious ones are not listed`,
    ),
  );
  const first = issues[0] as (typeof issues)[0];
  for (const { probability } of issues)
    t.ok(
      probability.suggested - probability.given <= first.probability.suggested - first.probability.given,
      'the likeliest is first',
    );
});

t.test('audit tells both, in words and as JSON', async (t) => {
  const args = ['audit', '--data', defectsFolder, '--model', backbone, '--image-size', '96'];
  const { stdout, code } = await torchgraft([...args, '--top', '3']);
  t.equal(code, 0);
  t.match(stdout, /look the same/);
  t.match(stdout, /may have a wrong label, or be hard/);
  const json = JSON.parse((await torchgraft([...args, '--json'])).stdout);
  t.match(json, { pairs: Array, images: 480, skipped: [], labels: { issues: Array, accuracy: Number } });
  t.match(json.labels.issues, [{ path: String, given: String }]);
  const alone = await torchgraft(['audit', '--data', defectsFolder]);
  t.match(alone.stdout, /No labels were looked at: that takes `--model`/);
});

t.test('audit --skip-unreadable lists what was left out, once', async (t) => {
  const folder = t.testdir();
  copyDefects(folder, 5);
  const broken = join(folder, 'train', 'ok', 'broken.jpg');
  writeFileSync(broken, 'no image');
  const args = ['audit', '--data', folder, '--model', backbone, '--image-size', '96'];
  const failed = await torchgraft(args);
  t.match(failed, { code: 1, stderr: /IMAGE_UNREADABLE.*broken\.jpg/ });
  const { code, stdout } = await torchgraft([...args, '--skip-unreadable']);
  t.equal(code, 0);
  t.equal(stdout.split('\n').filter((line) => line.startsWith(`skipped ${broken}: Cannot decode`)).length, 1);
  const json = JSON.parse((await torchgraft([...args, '--skip-unreadable', '--json'])).stdout);
  t.match(json, {
    images: 60,
    skipped: [{ path: broken, reason: /Cannot decode/ }],
    labels: { issues: Array },
  });
  t.equal(json.skipped.length, 1);
});
