import { isClassified, type Validation } from '../metrics/tasks.js';
import { taskFigures } from '../report/task-tables.js';
import { bestEpochOf } from '../run-record.js';
import { cardSection } from './card-section.js';
import { classesSection } from './classes-section.js';
import { computationSection } from './computation-section.js';
import { confusionSection } from './confusion-section.js';
import type { ReportContent } from './content.js';
import { doubtsSection } from './doubts-section.js';
import { formatShare } from './format.js';
import { headlineSection } from './headline-section.js';
import { html, trusted } from './html.js';
import { mistakesSection } from './mistakes-section.js';
import { retentionSection } from './retention-section.js';
import { style } from './style.js';
import { taskHeadline, taskSection } from './task-page.js';

/**
 * A training report as one HTML file: it asks for nothing from anywhere, needs no JavaScript, and follows light and dark.
 * What is missing from the content is said in its place. All names in it are escaped.
 *
 * @returns the file's text
 */
export async function renderReport(content: ReportContent): Promise<string> {
  // Drawing charts takes a library that nobody else should wait for.
  const [{ learningSection }, { calibrationSection }, { slicesSection }] = await Promise.all([
    import('./learning-section.js'),
    import('./calibration-section.js'),
    import('./slices-section.js'),
  ]);
  const { validation } = bestEpochOf(content.record);
  const slices = slicesSection(content.record.slices);
  const name = content.record.source?.name ?? 'model';
  return html`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${scoreOf(validation)} · ${name} · torchgraft</title>
<style>${trusted(style)}</style></head><body><main>
${isClassified(validation) ? headlineSection(content, validation) : taskHeadline(content, validation)}
<nav aria-label="Sections">${sectionsOf(content).map(([id, title]) => html`<a href="#${id}">${title}</a> `)}</nav>
${learningSection(content.record)}
${
  isClassified(validation)
    ? html`${confusionSection(validation)}
${classesSection(validation)}
${slices}
${calibrationSection(content.outcomes)}
${mistakesSection(content, validation)}`
    : html`${taskSection(validation)}
${slices}`
}
${doubtsSection(content)}
${retentionSection(content.record.retention)}
${computationSection(content.record)}
${cardSection(content)}
<footer>Written by torchgraft${versionOf(content)}. This file is whole: it loads nothing.</footer>
</main></body></html>
`.text;
}

function scoreOf(validation: Validation): string {
  if (isClassified(validation)) return formatShare(validation.accuracy);
  const [first] = taskFigures(validation);
  return `${first?.title} ${first?.value?.toFixed(3)}`;
}

const sections: readonly (readonly [string, string])[] = [
  ['learning', 'Learning'],
  ['confusion', 'Confusion'],
  ['classes', 'Classes'],
  ['slices', 'Slices'],
  ['calibration', 'Calibration'],
  ['mistakes', 'Mistakes'],
  ['doubts', 'Data'],
  ['retention', 'Retention'],
  ['computation', 'Computation'],
  ['card', 'Model card'],
];

function sectionsOf({ record }: ReportContent): typeof sections {
  const has: Record<string, boolean> = {
    slices: record.slices !== undefined,
    doubts: record.baselines?.audit !== undefined,
    retention: record.retention !== undefined,
    ...(record.data.task ? { confusion: false, calibration: false, mistakes: false } : {}),
  };
  return sections.filter(([id]) => has[id] ?? true);
}

function versionOf({ record }: ReportContent): string {
  const version = record.environment?.torchgraft;
  return version === undefined ? '' : ` ${version}`;
}
