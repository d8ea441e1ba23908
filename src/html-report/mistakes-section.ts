import { isAbsolute, relative } from 'node:path';
import type { ClassificationMetrics } from '../metrics/classification.js';
import { bestEpochOf } from '../run-record.js';
import type { Mistake, ReportContent } from './content.js';
import { counted, formatShare } from './format.js';
import { hits } from './headline-section.js';
import { type Html, html, named } from './html.js';

/** The most confident wrong answers as pictures. */
export function mistakesSection({ mistakes, outcomes, record }: ReportContent): Html {
  return html`<section id="mistakes"><h2>Where it was most wrong</h2>
${body(outcomes && mistakes, bestEpochOf(record).validation, record.data.source)}</section>`;
}

function body(
  mistakes: Mistake[] | undefined,
  validation: ClassificationMetrics,
  source: string | undefined,
): Html {
  if (!mistakes) return html`<p class="missing">The answers on single images were not at hand.</p>`;
  const count = validation.count - hits(validation);
  if (count === 0) return html`<p class="missing">No validation image was classified wrongly.</p>`;
  const explained = mistakes.filter(({ occlusion }) => occlusion).length;
  const shown = mistakes.length < count ? `The ${mistakes.length} most confident of ` : '';
  return html`<p>${shown}${counted(count, 'wrong answer')}, the most confident first, as the model saw the images. Look
here for wrong labels before you look for a better model.</p>
${
  explained > 0 &&
  html`<p class="note">The second picture${explained < mistakes.length && html` of the first ${explained}`} is an occlusion
map (Zeiler and Fergus 2014), not Grad-CAM: a grey patch is moved over the image, and where it glows, covering that place
took probability from the wrong answer. What glows is what the model answered from; the depth of colour is relative to
the largest drop, which is given.</p>`
}
<div class="mistakes">${mistakes.map((mistake) => card(mistake, source))}</div>`;
}

function card(mistake: Mistake, source: string | undefined): Html {
  const { path, truth, predicted, confidence, truthProbability, picture, occlusion } = mistake;
  return html`<article class="mistake"><div class="pair">${
    picture
      ? html`<img src="${picture}" alt="" width="128" height="128">`
      : html`<span class="unreadable">cannot be read any more</span>`
  }${occlusion && html`<img src="${occlusion.picture}" alt="occlusion map" width="128" height="128">`}</div>
<p><b class="said">${named(predicted)}</b> ${formatShare(confidence)}<br>
is <b>${named(truth)}</b> ${formatShare(truthProbability)}</p>
<p class="file">${named(withinData(path, source))}${
    occlusion && html`<br>${drop(occlusion.largestDrop)}`
  }</p></article>
`;
}

/** A file's path within the data, so that a report that is passed on tells no folders of its writer. */
export function withinData(path: string, source: string | undefined): string {
  const inside = source === undefined ? path : relative(source, path);
  return inside.startsWith('..') || isAbsolute(inside) ? path : inside;
}

function drop(largest: number): string {
  return largest < 0.001 ? 'no patch took any from it' : `largest drop ${formatShare(largest)}`;
}
