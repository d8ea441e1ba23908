import type { Plan } from '../native.js';
import type { RunRecord } from '../run-record.js';
import { counted, formatCount, formatMagnitude, formatRate, formatSeconds, formatShare } from './format.js';
import { code, type Fragment, type Html, html } from './html.js';
import { facts, table } from './table.js';

/** What was frozen, how it was computed, how long it took, and on what. */
export function computationSection(record: RunRecord): Html {
  return html`<section id="computation"><h2>How it was computed</h2>
${stages(record)}
${record.plan ? cut(record.plan) : html`<p class="missing">How the model was split is not in the record.</p>`}
<div class="columns"><div><h3>Computation</h3>${facts(computationFacts(record))}</div>
<div><h3>Time</h3>${facts(timeFacts(record))}</div>
<div><h3>Machine</h3>${facts(machineFacts(record))}</div></div></section>`;
}

/** The parts of a run that has several; what follows the table is of the last. */
function stages({ stages: parts = [] }: RunRecord): Html | undefined {
  if (parts.length < 2) return undefined;
  const head = ['stage', 'epochs', 'optimizer', 'largest rate', 'tensors that learn', 'frozen layers'];
  const rows = parts.map(({ name, epochs, optimizer, learning, learningRates, frozenLayers }) => ({
    cells: [name, epochs, optimizer, formatRate(learningRates.highest), learning, frozenLayers],
  }));
  return html`${table({ label: 'Stages', head, rows })}<p class="note">What follows is of the last stage.</p>`;
}

/** The network as a bar: the part of its arithmetic that was frozen, and the part that learned. */
function cut(plan: Plan): Html {
  if (!plan.split) {
    return html`<p>The model ran unsplit, every layer in each step${plan.reason && html`: ${plan.reason}`}.</p>`;
  }
  const share = plan.totalFlops > 0 ? plan.prefixFlops / plan.totalFlops : 0;
  const [frozen, learns] = shares(share);
  const shapes = plan.crossings
    .map(({ shape, dtype }) => `${dtype.toLowerCase()} [${shape.join(', ')}]`)
    .join(', ');
  return html`<p>The frozen part, ${counted(plan.prefixLayers.length, 'layer')} up to ${code(plan.prefixLayers.at(-1) ?? '')},
was split off, compiled, and shown on the first images to compute what it computed before; it has <strong>${frozen}</strong> of the
forward arithmetic, which needed no backward pass. ${counted(plan.suffixLayers.length, 'layer')} learned, from
${code(plan.suffixLayers[0] ?? '')} on. What crosses the cut of one image: ${code(shapes)}.</p>
<div class="cut" role="img" aria-label="${frozen} of the arithmetic is frozen">
<span class="frozen" style="--share:${(share * 100).toFixed(2)}%"></span><span class="learns"></span></div>
<p class="cut-names note"><span>frozen ${frozen}</span><span>learns ${learns}</span></p>
<details><summary>Layers of both parts</summary><div class="columns">
<div><h3>Frozen</h3><p class="layers">${plan.prefixLayers.map((layer) => html`${code(layer)} `)}</p></div>
<div><h3>Learns</h3><p class="layers">${plan.suffixLayers.map((layer) => html`${code(layer)} `)}</p></div></div></details>`;
}

/** The frozen share and the rest, with digits enough that neither is told as nothing. */
function shares(frozen: number): [string, string] {
  if (frozen > 0.9999) return ['more than 99.99 %', 'less than 0.01 %'];
  const digits = frozen > 0.99 ? 2 : 0;
  return [formatShare(frozen, digits), formatShare(1 - frozen, digits)];
}

function computationFacts({ plan, precision, views, features, trainable }: RunRecord): [string, Fragment][] {
  return [
    [
      'precision',
      precision && html`${precision}${plan?.precisionReason && html` (${plan.precisionReason})`}`,
    ],
    ['variant', plan && `${plan.variant}${plan.remembered ? ', proven in an earlier run' : ''}`],
    ['one image', plan && plan.totalFlops > 0 && `${formatMagnitude(plan.totalFlops)}FLOP forward`],
    ['learning tensors', trainable && formatCount(trainable.length)],
    [
      'views of an image',
      views === undefined ? undefined : views === 'live' ? 'new in each epoch' : String(views),
    ],
    ['features kept', features ? keptFeatures(features) : plan && 'none'],
  ];
}

function keptFeatures({ computed, found, rowBytes, file }: NonNullable<RunRecord['features']>): string {
  const place = file ? 'on disk' : 'in memory';
  return `${formatCount(computed)} computed, ${formatCount(found)} found, ${formatMagnitude(rowBytes)}B each, ${place}`;
}

/** Waiting counts what has to be there before a step: decoded images, and the features of those seen first. */
export function waitingFor(features: RunRecord['features']): string {
  return features ? 'images and features' : 'waiting for images';
}

function timeFacts({ features, epochs, totalSeconds, peakRssMb, baseline }: RunRecord): [string, Fragment][] {
  const sum = (pick: (epoch: (typeof epochs)[number]) => number | undefined) =>
    epochs.reduce((total, epoch) => total + (pick(epoch) ?? 0), 0);
  const trained = sum(({ trainSeconds }) => trainSeconds);
  const waited = sum(({ trainSeconds = 0, waitShare = 0 }) => trainSeconds * waitShare);
  const speeds = epochs.map(({ imagesPerSecond }) => imagesPerSecond).filter((speed) => speed > 0);
  const whole = sum(({ seconds }) => seconds);
  return [
    ['whole run', totalSeconds !== undefined && formatSeconds(totalSeconds)],
    ['before the first step', formatSeconds(baseline.seconds)],
    ['an epoch', epochs.length > 0 && `${formatSeconds(whole / epochs.length)} on average`],
    ['training alone', epochs.length > 0 && formatSeconds(trained)],
    [waitingFor(features), trained > 0 && `${formatShare(waited / trained)} of that`],
    [
      'training images/s',
      speeds.length > 0 &&
        `${formatCount(Math.round(Math.min(...speeds)))} to ${formatCount(Math.round(Math.max(...speeds)))}`,
    ],
    ['peak memory', peakRssMb !== undefined && `${formatCount(Math.round(peakRssMb))} MB`],
  ];
}

function machineFacts({ environment = {}, device, request }: RunRecord): [string, Fragment][] {
  const { platform, processor, processors, ...versions } = environment;
  const threads = (request?.threads as number | undefined) ?? undefined;
  return [
    ['device', device],
    ['processor', processor],
    ['processors', processors],
    ['threads asked for', threads],
    ['platform', platform],
    ...Object.entries(versions).map(([name, version]): [string, Fragment] => [name, String(version)]),
  ];
}
