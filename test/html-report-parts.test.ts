import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import t from 'tap';
import { calibrate } from '../src/html-report/calibration.js';
import { formatCount, formatMagnitude, formatRate, formatSeconds } from '../src/html-report/format.js';
import { escapeHtml, html } from '../src/html-report/html.js';
import { affordableMaps, occlude } from '../src/html-report/occlusion.js';
import { drawOcclusion } from '../src/html-report/pictures.js';
import { wilson } from '../src/metrics/wilson.js';
import { OutcomeCollector, softmax } from '../src/outcomes.js';

t.test('templates escape what is not markup', async (t) => {
  t.equal(
    escapeHtml(`<a href="x">'&'</a>\u0007\u0085`),
    '&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;\uFFFD\uFFFD',
  );
  const inner = html`<b>${'<'}</b>`;
  t.equal(html`${inner}${[1, '&', inner]}${false}${undefined}${null}`.text, '<b>&lt;</b>1&amp;<b>&lt;</b>');
});

t.test('calibration of the predicted class', async (t) => {
  // Confidences 0.88 right, 0.78 wrong, 0.75 right, and 1 right.
  const probabilities = Float32Array.of(0.88, 0.12, 0.22, 0.78, 0.75, 0.25, 0, 1);
  const found = calibrate({ probabilities, labels: Int32Array.of(0, 0, 0, 1), classes: ['a', 'b'] });
  t.ok(Math.abs(found.confidence - 3.41 / 4) < 1e-6);
  t.equal(found.accuracy, 0.75);
  t.ok(Math.abs(found.expectedError - (2 * 0.265 + 0.12) / 4) < 1e-6, String(found.expectedError));
  const none = { probabilities: new Float32Array(), labels: new Int32Array(), classes: ['a', 'b'] };
  t.match(calibrate(none), { expectedError: 0, confidence: 0, accuracy: 0 });
});

t.test('the Wilson interval, by scipy', async (t) => {
  for (const [successes, count, low, high] of [
    [9, 10, 0.59585, 0.982124],
    [0, 20, 0, 0.161125],
    [226, 240, 0.90448, 0.964938],
  ] as const) {
    const [from, to] = wilson(successes, count);
    t.ok(
      Math.abs(from - low) < 1e-5 && Math.abs(to - high) < 1e-5,
      `${successes} of ${count}: ${from} ${to}`,
    );
  }
  t.same(wilson(0, 0), [0, 1]);
});

t.test('occlusion finds the place that a class depends on', async (t) => {
  const size = 28;
  const pixels = new Uint8Array(size * size * 3).fill(100);
  // White only in the middle of cell (1, 5) of 7 x 7.
  const at = (x: number, y: number) => (y * size + x) * 3;
  pixels.set([255, 255, 255], at(22, 6));
  let batch = 0;
  const map = await occlude(pixels, size, [124, 116, 104], async (images, count) => {
    batch = count;
    return Float32Array.from({ length: count }, (_, i) =>
      images[i * pixels.length + at(22, 6)] === 255 ? 0.9 : 0.3,
    );
  });
  t.equal(batch, 50, 'one forward of the image itself and one of each place');
  t.equal(map.side, 7);
  const dropped = [...map.drops].flatMap((drop, place) =>
    drop > 0.5 ? [[Math.floor(place / 7), place % 7]] : [],
  );
  t.ok(dropped.length >= 1 && dropped.length <= 4, JSON.stringify(dropped));
  t.ok(
    dropped.some(([row, column]) => row === 1 && column === 5),
    'its own cell',
  );
  t.equal(pixels[at(22, 6)], 255, 'the image is as it was');

  const uri = await drawOcclusion(pixels, size, map);
  const { data, info } = await sharp(Buffer.from(uri.split(',')[1] ?? '', 'base64'))
    .raw()
    .toBuffer({ resolveWithObject: true });
  t.match(info, { width: 128, height: 128, channels: 3 });
  const red = (x: number, y: number) => {
    const from = (y * 128 + x) * 3;
    return (data[from] as number) - (data[from + 2] as number);
  };
  t.ok(
    red(100, 27) > 100 && Math.abs(red(20, 110)) < 12,
    `glows there (${red(100, 27)}) and not elsewhere (${red(20, 110)})`,
  );
});

t.test('large models get fewer maps, by their arithmetic', async (t) => {
  t.equal(affordableMaps({ totalFlops: 76e6 }, 24), 24);
  t.equal(affordableMaps({ totalFlops: 6e8 }, 24), 5);
  t.equal(affordableMaps({ totalFlops: 1e12 }, 24), 2);
  t.equal(affordableMaps(undefined, 1), 1);
});

t.test('outcomes: softmax rows, copies, and a limit', async (t) => {
  t.same([...softmax(Float32Array.of(0, 0, 1000, 0), 2)], [0.5, 0.5, 1, 0]);
  const collector = new OutcomeCollector(['a', 'b'], 32);
  const labels = Int32Array.of(1, 0);
  collector.add({ labels, paths: ['x', 'y'] }, Float32Array.of(0, 0, 0, 0));
  labels.fill(9);
  t.match(collector.outcomes([]), { labels: [1, 0], paths: ['x', 'y'], probabilities: [0.5, 0.5, 0.5, 0.5] });
  collector.add({ labels, paths: ['x', 'y'] }, new Float32Array(5));
  t.equal(collector.outcomes([]), undefined, 'beyond the limit nothing is kept');
});

t.test('numbers for people', async (t) => {
  t.same([0.0123, 3.21, 245, 3723].map(formatSeconds), ['12 ms', '3.2 s', '4 min 05 s', '1 h 02 min']);
  t.same([12, 76_300_000].map(formatMagnitude), ['12.0 ', '76.3 M']);
  t.same([0, 0.001, 0.00005].map(formatRate), ['0', '0.001', '5.0e-5']);
  t.equal(formatCount(12345), '12,345');
});

t.test('importing torchgraft loads no charts: only a report does', async (t) => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [, name = ''] of text.matchAll(/(?:^import|\bfrom) '([^']+)';$/gm)) {
      t.notMatch(name, /^echarts/, file);
      if (name.startsWith('.')) visit(join(dirname(file), name));
    }
  };
  visit(fileURLToPath(new URL('../lib/index.js', import.meta.url)));
  t.ok([...seen].some((file) => file.endsWith('html-report/page.js')));
});
