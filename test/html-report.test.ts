import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { nativePreprocess } from '../src/data/preprocessing.js';
import {
  type FineTuneResult,
  fineTune,
  loadClassifier,
  type Model,
  type Outcomes,
  type ReportContent,
  type RunRecord,
  renderReport,
  writeReport,
} from '../src/index.js';
import { makeRunRecord } from '../src/run-record.js';
import { defects, open, quick } from './defects.js';
import { elements, find, type HtmlElement, parseHtml, rowsOf, textOf } from './html.js';

const sections = ['learning', 'confusion', 'classes', 'calibration', 'mistakes', 'computation', 'card'];

/** Fails unless the page asks for nothing from anywhere and runs nothing. */
function isSelfContained(t: Tap.Test, page: HtmlElement) {
  const all = elements(page);
  for (const name of ['script', 'link', 'iframe', 'object', 'embed', 'base', 'form', 'image', 'use']) {
    t.same(find(page, name), [], `no <${name}>`);
  }
  for (const { name, attributes } of all) {
    for (const [attribute, value] of Object.entries(attributes)) {
      if (attribute === 'src') t.match(value, /^data:image\/jpeg;base64,[\w+/]+=*$/, `${name} src`);
      if (/href$/.test(attribute)) t.match(value, /^#[a-z]+$/, `${name} ${attribute}`);
      if (/^on|^srcset$|^xmlns/.test(attribute)) t.fail(`${name} has ${attribute}`);
      // Texts that a browser shows and never follows.
      if (['title', 'alt', 'aria-label'].includes(attribute)) continue;
      t.notMatch(value, /url\((?!#)|javascript:/i, `${name} ${attribute}`);
    }
  }
  const [css] = find(page, 'style');
  t.notMatch(css?.children.join(''), /url\(|@import|https?:/);
  const [policy] = find(page, 'meta').filter(({ attributes }) => attributes['http-equiv']);
  t.match(policy?.attributes.content, /^default-src 'none'/);
}

declare namespace Tap {
  type Test = Pick<typeof t, 'ok' | 'same' | 'match' | 'notMatch' | 'fail'>;
}

/** A small run, whose reports the tests read. */
let model: Model;
const data = defects(24, 18);
let result: FineTuneResult;
let outcomes: Outcomes;
let record: RunRecord;
const modelFile = join(t.testdir({}), 'model.pt');

t.before(async () => {
  model = await open(t);
  const run = fineTune(model, data, { ...quick, epochs: 2 });
  for await (const { epoch } of run) if (epoch > 2) throw new Error('too many epochs');
  result = run.result as FineTuneResult;
  await model.save(modelFile);
  outcomes = run.validationOutcomes as Outcomes;
  record = makeRunRecord(model, data, result);
});

t.test('a report says what came out', async (t) => {
  const file = join(t.testdir({}), 'report.html');
  await writeReport(file, { model, data, result, outcomes, modelFile }, { mistakes: 5, maps: 2 });
  t.same(readdirSync(join(file, '..')), ['report.html'], 'and nothing temporary');
  const page = parseHtml(readFileSync(file, 'utf8'));
  isSelfContained(t, page);
  for (const id of sections) t.equal(find(page, `#${id}`).length, 1, id);
  const part = (id: string) => find(page, `#${id}`)[0] as HtmlElement;

  const { validation } = result.best;
  const right = Math.round(validation.accuracy * 18);
  t.equal(textOf(find(page, 'h1')[0] as HtmlElement), `Right on ${right} of 18 validation images`);
  const head = textOf(find(page, 'header')[0] as HtmlElement);
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  t.match(head, `This model${percent(validation.accuracy)}`);
  t.match(head, `Before the first step${percent(result.baseline.validation.accuracy)}`);
  t.match(head, `Always crack${percent(3 / 18)}`);
  t.match(head, `${validation.macro.f1.toFixed(3)}macro F1`);

  const [matrix, pairs] = find(part('confusion'), 'table') as [HtmlElement, HtmlElement];
  const counts = rowsOf(matrix).slice(1);
  t.same(
    counts.map(([, ...cells]) => cells.map((cell) => (cell === '·' ? 0 : Number(cell)))),
    validation.confusionMatrix,
  );
  t.same(
    counts.map(([name]) => name),
    data.classes,
  );
  const confused = rowsOf(pairs).slice(1);
  t.equal(
    Number(confused[0]?.[1]),
    Math.max(...validation.confusionMatrix.flatMap((row, i) => row.filter((_, j) => j !== i))),
    'the most confused pair first',
  );
  const classRows = rowsOf(find(part('classes'), 'table')[0] as HtmlElement);
  const [first] = validation.perClass;
  t.same(classRows[1], [
    'crack',
    ...[first?.precision, first?.recall, first?.f1].map((score) => score?.toFixed(3)),
    '3',
  ]);
  t.equal(
    rowsOf(find(part('learning'), 'table')[0] as HtmlElement).length,
    4,
    'titles, baseline, two epochs',
  );
  t.equal(find(page, 'svg').length, 6, 'loss, scores, rate, time, reliability, histogram');
  t.match(textOf(part('computation')), /frozen part, \d+ layers? up to/);
  const sha256 = createHash('sha256').update(readFileSync(modelFile)).digest('hex');
  t.match(textOf(part('card')), sha256);
  t.match(textOf(part('card')), model.origin.sha256);

  const shown = find(part('mistakes'), 'article');
  t.equal(shown.length, Math.min(5, 18 - right));
  t.same(
    shown.map((article) => find(article, 'img').length),
    shown.map((_, index) => (index < 2 ? 2 : 1)),
    'two of them with a map',
  );
  t.match(textOf(part('mistakes')), /of the first 2 is a Grad-CAM map/);
  t.same(
    find(part('mistakes'), 'img').flatMap(({ attributes: { alt } }) => alt || []),
    ['Grad-CAM map', 'Grad-CAM map'],
  );
  const sure = shown.map((article) => Number(/(\d+\.\d) %/.exec(textOf(article))?.[1]));
  t.same(
    sure,
    [...sure].sort((a, b) => b - a),
    'the most confident first',
  );
});

t.test('without a map of features before the head the maps are occlusion maps, and say so', async (t) => {
  const other = await open(t);
  other.card = model.card;
  // The model only predicts from now on: Grad-CAM is refused.
  const preprocessing = model.card?.preprocessing as NonNullable<typeof model.card>['preprocessing'];
  const example = { data: new Uint8Array(2 * 32 * 32 * 3), shape: [2, 32, 32, 3], dtype: 'uint8' as const };
  await other.replaceHead({ classes: data.classes.length });
  await other.native.optimise({
    ...{ precision: 'float32', example },
    preprocess: nativePreprocess(preprocessing),
  });
  const file = join(t.testdir({}), 'report.html');
  await writeReport(file, { model: other, data, result, outcomes, record }, { mistakes: 3, maps: 2 });
  const page = parseHtml(readFileSync(file, 'utf8'));
  isSelfContained(t, page);
  const [part] = find(page, '#mistakes') as [HtmlElement];
  t.match(textOf(part), /occlusion map .*gives no map of features/);
  t.notMatch(textOf(part), /Selvaraju/);
  t.same(
    find(part, 'img').flatMap(({ attributes: { alt } }) => alt || []),
    ['occlusion map', 'occlusion map'],
  );
});

t.test('each map is called what it is', async (t) => {
  const picture = 'data:image/jpeg;base64,AAAA';
  const mistake = {
    path: 'a.jpg',
    truth: 'dent',
    predicted: 'crack',
    confidence: 0.9,
    truthProbability: 0.1,
  };
  const mistakes = [
    { ...mistake, picture, gradCam: { picture, empty: false } },
    { ...mistake, picture, gradCam: { picture, empty: true } },
    { ...mistake, picture, occlusion: { picture, largestDrop: 0.25 } },
    { ...mistake, picture },
  ];
  const page = parseHtml(await renderReport({ record, outcomes, mistakes }));
  const [part] = find(page, '#mistakes') as [HtmlElement];
  t.match(
    textOf(part),
    /of the first 3 is a Grad-CAM map .*Where a largest drop is given it is an occlusion map/,
  );
  const shown = find(part, 'article').map((article) => ({
    maps: find(article, 'img').flatMap(({ attributes: { alt } }) => alt || []),
    text: textOf(article),
  }));
  t.same(
    shown.map(({ maps }) => maps),
    [['Grad-CAM map'], ['Grad-CAM map'], ['occlusion map'], []],
  );
  t.same(
    shown.map(({ text }) => /no place spoke for it/.test(text)),
    [false, true, false, false],
  );
  t.match(shown[2]?.text, /largest drop 25\.0 %/);
});

t.test('the outcomes of the best epoch are those of the saved model', async (t) => {
  t.same(
    outcomes.paths,
    data.splits.val.map(({ path }) => path),
  );
  t.same(
    [...outcomes.labels],
    data.splits.val.map(({ label }) => label),
  );
  await using classifier = await loadClassifier(modelFile, { device: 'cpu', threads: 1 });
  const { predictions } = await classifier.evaluate(data);
  for (const [row, { predicted, probability }] of predictions.entries()) {
    const shares = [...outcomes.probabilities.subarray(row * 6, (row + 1) * 6)];
    const at = data.classes.indexOf(predicted);
    t.equal(shares.indexOf(Math.max(...shares)), at, `image ${row}`);
    t.ok(Math.abs((shares[at] as number) - probability) < 1e-4, `${shares[at]} and ${probability}`);
  }
  t.equal(result.ended, 'finished');
});

const hostile = [
  '<script>alert(1)</script>',
  '" onmouseover="alert(1)" x="',
  "'><img src=x onerror=alert(1)>",
  '&amp;</style></svg>]]>',
  'javascript:alert(1) https://example.org/x.js',
  '\u202Ereversed\u0000 \uD800',
];

/** The same text with other class names. */
function renamed<T>(value: T, classes: string[], names: string[]): T {
  return JSON.parse(
    JSON.stringify(value, (_, inner) => {
      const at = typeof inner === 'string' ? classes.indexOf(inner) : -1;
      return at < 0 ? inner : names[at];
    }),
  );
}

t.test('names from outside are text, whatever they hold', async (t) => {
  const record2: RunRecord = {
    ...renamed(record, data.classes, hostile),
    source: { name: hostile[0] as string, sha256: hostile[1] as string },
    notices: [...hostile],
    request: { strategy: hostile[2] as string },
    environment: { platform: hostile[0] as string, [hostile[1] as string]: hostile[2] as string },
  };
  record2.data = { ...record2.data, source: hostile[2] as string, warnings: [...hostile] };
  const mistakes = hostile.map((name) => ({
    ...{ path: name, truth: name, predicted: name, confidence: 0.5, truthProbability: 0.2 },
  }));
  const content: ReportContent = {
    record: record2,
    outcomes: { ...outcomes, classes: hostile },
    ...{ mistakes, missing: hostile },
    model: { file: hostile[1] as string, bytes: 1, sha256: hostile[2] as string },
    ...(model.card
      ? {
          card: {
            ...model.card,
            provenance: {
              licences: { model: hostile[0], data: 'CC0' },
              before: { source: { name: hostile[0] } },
            },
          },
        }
      : {}),
  };
  const text = await renderReport(content);
  const page = parseHtml(text);
  isSelfContained(t, page);
  t.notMatch(text, /\u0000|\uD800/);
  const names = rowsOf(find(find(page, '#confusion')[0] as HtmlElement, 'table')[0] as HtmlElement);
  t.same(
    names.slice(1).map(([name]) => name),
    [...hostile.slice(0, 5), '\\u202ereversed\uFFFD \uFFFD'],
  );
  t.match(textOf(find(page, '#card')[0] as HtmlElement), `licencesmodel: ${hostile[0]} images: CC0`);
});

t.test('what is missing is said, and the rest told', async (t) => {
  const { bestEpoch, baseline, epochs } = record;
  const bare = { data: { classes: data.classes }, bestEpoch, baseline, epochs };
  const page = parseHtml(await renderReport({ record: bare, missing: ['The model is gone.'] }));
  isSelfContained(t, page);
  for (const id of sections) t.equal(find(page, `#${id}`).length, 1, id);
  const text = textOf(page);
  for (const words of [
    /The model is gone\./,
    /probabilities .* were not at hand/,
    /answers on single images were not/,
  ]) {
    t.match(text, words);
  }
  t.notMatch(text, /undefined|NaN|null|\[object/);

  const none = parseHtml(await renderReport({ record: { ...bare, bestEpoch: 0, epochs: [] } }));
  t.match(textOf(none), /before the first step: no epoch was better/);
  t.match(textOf(none), /No epoch was finished/);
  t.notMatch(textOf(none), /undefined|NaN|Infinity/);
});

t.test(
  'an image that is gone has no picture; the classes of a large task are cut to the confused ones',
  async (t) => {
    const gone = { ...outcomes, paths: outcomes.paths.map((path) => `${path}.gone`) };
    const file = join(t.testdir({}), 'gone.html');
    await writeReport(file, { model, data, result, outcomes: gone }, { mistakes: 2 });
    t.match(textOf(parseHtml(readFileSync(file, 'utf8'))), /cannot be read any more/);

    const names = Array.from({ length: 40 }, (_, i) => `class ${i}`);
    const confusionMatrix = names.map((_, i) =>
      names.map((_, j) => (i === j ? 5 : j === (i + 1) % 40 && i > 20 ? 1 : 0)),
    );
    const perClass = names.map((name) => ({
      ...{ class: name, precision: 1, recall: 1, f1: 1, support: 5 },
      ...{ rocAuc: 1, prAuc: 1 },
    }));
    const validation = { ...result.best.validation, perClass, confusionMatrix };
    const many = { ...record, bestEpoch: 0, baseline: { ...record.baseline, validation } };
    const page = parseHtml(await renderReport({ record: many }));
    const section = find(page, '#confusion')[0] as HtmlElement;
    const shown = rowsOf(find(section, 'table')[0] as HtmlElement).slice(1);
    t.equal(shown.length, 30);
    for (let i = 21; i < 40; i++)
      t.ok(
        shown.some(([name]) => name === `class ${i}`),
        `class ${i}`,
      );
    t.match(textOf(section), /Of 40 classes the 30 with the most mistakes/);
    t.match(textOf(section), /And 7 pairs more/);
  },
);

t.test('stages and decisions are told where there are several', async (t) => {
  const [one] = result.stages;
  const stages = [
    { ...one, name: 'probe' },
    { ...one, name: 'trial <b>' },
  ] as RunRecord['stages'];
  const decisions = ['auto: stopped after the trial.'];
  const page = parseHtml(await renderReport({ record: { ...record, stages, decisions } as RunRecord }));
  const computation = find(page, '#computation')[0] as HtmlElement;
  const [head, probe, trial] = rowsOf(find(computation, 'table')[0] as HtmlElement);
  t.same(head?.slice(0, 3), ['stage', 'epochs', 'optimizer']);
  t.same(probe?.slice(0, 3), ['probe', '2', 'adamw']);
  t.equal(trial?.[0], 'trial <b>');
  t.match(textOf(page), /auto: stopped after the trial\./);
  const single = parseHtml(await renderReport({ record }));
  t.equal(find(find(single, '#computation')[0] as HtmlElement, 'table').length, 0);
});

t.test('writeReport refuses what is no finished run, and unknown options', async (t) => {
  const fresh = await open(t);
  await t.rejects(writeReport('x.html', { model: fresh, data, result }), { code: 'INVALID_TYPE' });
  await t.rejects(writeReport('x.html', { model, data, result }, { mistake: 3 } as never), /`mistakes`/);
  await t.rejects(
    writeReport(join(t.testdir({}), 'none', 'x.html'), { model, data, result }, { mistakes: 0 }),
    {
      code: 'FILE_NOT_FOUND',
    },
  );
});
