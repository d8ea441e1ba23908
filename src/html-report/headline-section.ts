import { basename } from 'node:path';
import type { Task } from '../data/task.js';
import type { EpochReport } from '../fine-tune/report.js';
import type { ClassificationMetrics } from '../metrics/classification.js';
import { isClassified } from '../metrics/tasks.js';
import { wilson } from '../metrics/wilson.js';
import { beatenByProbe, standings } from '../report/baselines-table.js';
import { bestEpochOf, type RunRecord } from '../run-record.js';
import { calibrate } from './calibration.js';
import type { ReportContent } from './content.js';
import { counted, formatCount, formatSeconds, formatShare } from './format.js';
import { type Fragment, type Html, html, named } from './html.js';

/** What came out, in plain words, beside what comes without learning. */
export function headlineSection(content: ReportContent, validation: ClassificationMetrics): Html {
  const { record } = content;
  return html`<header><p class="overline">torchgraft · training report${dateOf(content)}</p>
<h1>Right on ${formatCount(hits(validation))} of ${counted(validation.count, 'validation image')}</h1>
<p class="lead">${what(record)} ${chosen(record, bestEpochOf(record))}</p>
${bars(record, validation)}
${tiles(content, validation)}
${remarks(content)}</header>`;
}

/** Samples classified rightly. */
export function hits({ accuracy, count }: ClassificationMetrics): number {
  return Math.round(accuracy * count);
}

/** What was trained, on what. */
export function what({ source, data, trainable, request }: RunRecord): Html {
  const { train } = data.counts ?? {};
  // Images of a multi-label set count for each of their labels.
  const images = train && !data.task && Object.values(train).reduce((sum, count) => sum + count, 0);
  const strategy = request?.strategy;
  return html`${source ? named(source.name) : 'A network'} was fine-tuned to ${aim(data)}${
    images !== undefined && images !== false && html`, on ${counted(images, 'training image')}`
  }${data.source !== undefined && html` of ${named(basename(data.source))}`}${
    typeof strategy === 'string' && html`, strategy ${strategy}`
  }${trainable && html`; ${counted(trainable.length, 'parameter tensor')} learned`}.`;
}

function aim({ task, classes }: RunRecord['data']): string {
  if (task === 'regression') return `predict ${counted(classes.length, 'number')}`;
  if (task === 'multi-label') return `find ${counted(classes.length, 'label')}`;
  return `tell ${counted(classes.length, 'class', 'classes')} apart`;
}

const endings = {
  finished: 'nothing was left to be done',
  early: 'no improvement was seen any more',
  left: 'it was stopped',
} as const;

/** Which epoch was kept, and why. */
export function chosen({ epochs, ended, options }: RunRecord, best: EpochReport<Task>): Html {
  const metric = (options?.earlyStopping as { metric?: string } | undefined)?.metric;
  const why =
    ended && html`; training ended after ${counted(epochs.length, 'epoch')} because ${endings[ended]}`;
  return html`The weights kept are those ${
    best.epoch === 0
      ? html`<strong>before the first step</strong>: no epoch was better`
      : html`of epoch <strong>${best.epoch}</strong>`
  }${metric && html`, the best by ${named(metric)}`}${why}. The validation images chose that epoch, so these figures are
slightly flattering.`;
}

/** The model beside what comes without fine-tuning. */
function bars(record: RunRecord, validation: ClassificationMetrics): Html {
  const interval = wilson(hits(validation), validation.count);
  return html`<div class="baselines">
${bar('This model', validation.accuracy, 'model', interval)}
${others(record, validation).map(({ name, accuracy }) => bar(name, accuracy, 'base'))}
</div>
<p class="note">Accuracy. With ${counted(validation.count, 'validation image')}, the whisker is the 95 % Wilson interval:
${formatShare(interval[0])} to ${formatShare(interval[1])}.${record.baselines?.transfer && html` ${record.baselines.transfer.text}`}</p>`;
}

function others(
  record: RunRecord,
  validation: ClassificationMetrics,
): { name: Fragment; accuracy: number }[] {
  const { accuracy } = record.baseline.validation as ClassificationMetrics;
  const before = { name: 'Before the first step', accuracy };
  if (record.baselines) {
    const rest = standings(record.baselines, { validation }, record.scratch).slice(0, -1).reverse();
    const named = rest.map(({ name, accuracy }) => ({ name: capital(name), accuracy }));
    return [...named.slice(0, -1), before, ...named.slice(-1)];
  }
  const majority = validation.perClass.reduce((most, one) => (one.support > most.support ? one : most));
  const share = validation.count > 0 ? majority.support / validation.count : 0;
  return [before, { name: html`Always ${named(majority.class)}`, accuracy: share }];
}

const capital = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

function bar(name: Fragment, share: number, kind: string, interval?: readonly [number, number]): Html {
  const whisker =
    interval &&
    html`<span class="whisker" style="--from:${percent(interval[0])};--to:${percent(interval[1])}"></span>`;
  return html`<div class="baseline ${kind}"><span class="name">${name}</span><span class="track"><span class="fill"
style="--share:${percent(share)}"></span>${whisker}</span><span class="value">${formatShare(share)}</span></div>`;
}

const percent = (share: number) => `${(share * 100).toFixed(2)}%`;

function tiles({ record, outcomes }: ReportContent, validation: ClassificationMetrics): Html {
  const speeds = record.epochs.map(({ imagesPerSecond }) => imagesPerSecond).filter((speed) => speed > 0);
  const trained = record.epochs.reduce((sum, { seconds }) => sum + seconds, 0);
  const calibration = outcomes && calibrate(outcomes).expectedError;
  return html`<div class="tiles">
${tile(validation.macro.f1.toFixed(3), 'macro F1')}
${tile(validation.loss.toFixed(3), 'validation loss')}
${validation.topK && 2 * validation.topK.k <= validation.perClass.length && tile(formatShare(validation.topK.accuracy), `top-${validation.topK.k} accuracy`)}
${calibration !== undefined && tile(formatShare(calibration), 'calibration error')}
${tile(formatSeconds(record.totalSeconds ?? trained), record.totalSeconds === undefined ? 'in epochs' : 'in all')}
${speeds.length > 0 && tile(formatCount(Math.round(median(speeds))), 'training images/s')}
</div>`;
}

export function tile(value: string, name: string): Html {
  return html`<div class="tile"><b>${value}</b><span>${name}</span></div>`;
}

/** The middle value; of an even number the upper of both. */
function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** What a reader should know first. */
export function remarks({ record, missing = [] }: ReportContent): Html | undefined {
  const skipped = new Set(
    [record.baseline, ...record.epochs].flatMap((report) => (report.skipped ?? []).map(({ path }) => path)),
  );
  const { validation } = bestEpochOf(record);
  const beaten =
    record.baselines && isClassified(validation)
      ? beatenByProbe(record.baselines, { validation })
      : undefined;
  const lines = [
    ...(record.decisions ?? []),
    ...(beaten ? [beaten] : []),
    ...(record.data.warnings ?? []),
    ...(record.notices ?? []),
    ...(record.computationNotices ?? []),
    ...(skipped.size > 0
      ? [`${counted(skipped.size, 'image')} could not be decoded, for example ${[...skipped][0]}.`]
      : []),
    ...missing,
  ];
  if (lines.length === 0) return undefined;
  return html`<aside class="remarks"><h3>Worth knowing</h3><ul>${lines.map((line) => html`<li>${line}</li>`)}</ul></aside>`;
}

export function dateOf({ card }: ReportContent): Html | undefined {
  const date = new Date(String(card?.provenance.date));
  if (Number.isNaN(date.getTime())) return undefined;
  const text = date.toLocaleDateString('en-GB', {
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    timeZone: 'UTC',
  });
  return html` · <time datetime="${date.toISOString()}">${text}</time>`;
}
