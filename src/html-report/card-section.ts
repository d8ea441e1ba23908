import { isClassified } from '../metrics/tasks.js';
import { bestEpochOf, type RunRecord } from '../run-record.js';
import type { ReportContent } from './content.js';
import { counted, formatCount, formatMagnitude } from './format.js';
import { code, type Fragment, type Html, html, named } from './html.js';
import { facts, table } from './table.js';

/** More classes than this are not listed. */
const mostClasses = 100;

/** What a person needs to know of the model before using it: data, lineage, preprocessing, limits. */
export function cardSection(content: ReportContent): Html {
  const { record } = content;
  return html`<section id="card"><h2>Model card</h2>
<div class="columns"><div><h3>Model</h3>${facts(modelFacts(content))}</div>
<div><h3>Images</h3>${facts(imageFacts(record))}</div></div>
${counts(record)}
<h3>Limits</h3><ul class="limits">${limits(content).map((limit) => html`<li>${limit}</li>`)}</ul>
<details><summary>Every option</summary><pre>${JSON.stringify(record.options ?? record.request ?? {}, null, 2)}</pre></details>
</section>`;
}

function modelFacts({ record, card, model }: ReportContent): [string, Fragment][] {
  const { source } = record;
  return [
    ['saved as', model && html`${code(model.file)}, ${formatMagnitude(model.bytes)}B`],
    ['SHA-256', model && code(model.sha256)],
    ['grown from', source && html`${code(source.name)}<br>SHA-256 ${code(source.sha256)}`],
    ...ancestors(card?.provenance.before).map((name): [string, Fragment] => [
      'which was grown from',
      code(name),
    ]),
    [
      'licences',
      listed(licences(card?.provenance)) ?? 'none recorded: ask for those of the source model and the images',
    ],
    ['preprocessing', record.preprocessing && preprocessing(record.preprocessing)],
    ['classes', classNames(record.data.classes)],
  ];
}

/** Of thousands the first. */
function classNames(names: readonly string[]): Html {
  const shown = names.slice(0, mostClasses);
  const rest = names.length - shown.length;
  return html`${shown.map((name, index) => html`${index > 0 && ', '}${named(name)}`)}${
    rest > 0 && ` and ${formatCount(rest)} more`
  }`;
}

/** The earlier fine-tunings, newest first: the file that each began with, and its data. */
function ancestors(before: unknown): string[] {
  if (typeof before !== 'object' || before === null) return [];
  const {
    source,
    data,
    before: earlier,
  } = before as {
    source?: { name?: unknown; sha256?: unknown };
    data?: { source?: unknown };
    before?: unknown;
  };
  const on = data?.source === undefined ? '' : `, fine-tuned on ${data.source}`;
  const known = source ? [`${source.name} (SHA-256 ${source.sha256})${on}`] : [];
  return [...known, ...ancestors(earlier)];
}

/** Licences of the model's parts and of what they were made from, earlier fine-tunings included. */
function licences(provenance: unknown): string[] {
  if (typeof provenance !== 'object' || provenance === null) return [];
  const { licences: own, before } = provenance as { licences?: Record<string, unknown>; before?: unknown };
  const line = (name: string, text: unknown) => (typeof text === 'string' ? [`${name}: ${text}`] : []);
  return [...new Set([...line('model', own?.model), ...line('images', own?.data), ...licences(before)])];
}

function listed(lines: string[]): Html | undefined {
  if (lines.length === 0) return undefined;
  return html`${lines.map((line, index) => html`${index > 0 && html`<br>`}${line}`)}`;
}

function preprocessing({
  size,
  resize,
  crop,
  mean,
  std,
  interpolation,
  pixelRange,
}: NonNullable<RunRecord['preprocessing']>): string {
  const cut =
    crop === 'center' ? `resized to ${resize} px, ${size} px cut from the middle` : `squashed to ${size} px`;
  const range = pixelRange ? `; black to white ${pixelRange.join(' to ')}` : '';
  return `${cut} (${interpolation}); mean ${mean.join(', ')}; std ${std.join(', ')}${range}`;
}

function imageFacts({ data }: RunRecord): [string, Fragment][] {
  const { validation } = data;
  return [
    ['source', data.source !== undefined && code(data.source)],
    [
      'validation',
      validation === 'given'
        ? 'a split of its own'
        : validation &&
          `${Math.round(validation.share * 100)} % of each class, split off with seed ${validation.seed}`,
    ],
    ['fingerprint', data.fingerprint !== undefined && code(data.fingerprint)],
  ];
}

function counts({ data }: RunRecord): Html | undefined {
  if (!data.counts) return undefined;
  const splits = Object.entries(data.counts);
  const inTraining = (name: string) => data.counts?.train?.[name] ?? 0;
  const fewest = [...data.classes].sort((a, b) => inTraining(a) - inTraining(b));
  const shown = data.classes.length > mostClasses ? fewest.slice(0, mostClasses) : data.classes;
  const which = shown === data.classes ? '' : `, of the ${shown.length} with the fewest`;
  return html`<details><summary>Images of each class${which}</summary>${table({
    label: 'Images of each class and split',
    head: ['class', ...splits.map(([split]) => split)],
    rows: shown.map((name) => ({
      cells: [named(name), ...splits.map(([, ofClass]) => formatCount(ofClass[name] ?? 0))],
    })),
  })}</details>`;
}

function answered({ data: { task, classes } }: RunRecord): string {
  if (task === 'regression')
    return 'Every image gets its numbers, also one that shows nothing of what is measured.';
  const count = formatCount(classes.length);
  if (task === 'multi-label')
    return `Of the ${count} labels an image may get none; of others it gets none ever.`;
  return `Every image gets one of the ${count} classes, also one that shows none of them.`;
}

/** What these figures do not say. */
function limits({ record, outcomes }: ReportContent): Html[] {
  const { validation } = bestEpochOf(record);
  const rare = (isClassified(validation) ? validation.perClass : []).filter(({ support }) => support < 20);
  const { test } = record.data.counts ?? {};
  return [
    html`The figures hold for images like the ${counted(validation.count, 'validation image')}, taken in the same way. Of
      others, other light, cameras or backgrounds, they say nothing.`,
    html`${answered(record)}`,
    html`The validation images chose the best epoch.${
      test
        ? ' The data has a test split, which nothing here has looked at: torchgraft eval --split test.'
        : ' An estimate that nothing has looked at needs a test split.'
    }`,
    ...(rare.length > 0
      ? [
          html`${rare.slice(0, 8).map(({ class: name }, index) => html`${index > 0 && ', '}${named(name)}`)}${
            rare.length > 8 && html` and ${formatCount(rare.length - 8)} more`
          } ${rare.length === 1 ? 'has' : 'have'} fewer than 20 validation images: ${
            rare.length === 1 ? 'its' : 'their'
          } scores are rough.`,
        ]
      : []),
    ...(outcomes
      ? [html`Probabilities are softmax outputs, as calibrated as the diagram above shows them to be.`]
      : []),
  ];
}
