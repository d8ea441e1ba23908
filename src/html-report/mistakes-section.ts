import { isAbsolute, relative } from 'node:path';
import type { ClassificationMetrics } from '../metrics/classification.js';
import type { Mistake, ReportContent } from './content.js';
import { counted, formatShare } from './format.js';
import { hits } from './headline-section.js';
import { type Html, html, named } from './html.js';

/** The most confident wrong answers as pictures. */
export function mistakesSection(
  { mistakes, outcomes, record }: ReportContent,
  validation: ClassificationMetrics,
): Html {
  return html`<section id="mistakes"><h2>Where it was most wrong</h2>
${body(outcomes && mistakes, validation, record.data.source)}</section>`;
}

function body(
  mistakes: Mistake[] | undefined,
  validation: ClassificationMetrics,
  source: string | undefined,
): Html {
  if (!mistakes) return html`<p class="missing">The answers on single images were not at hand.</p>`;
  const count = validation.count - hits(validation);
  if (count === 0) return html`<p class="missing">No validation image was classified wrongly.</p>`;
  const shown = mistakes.length < count ? `The ${mistakes.length} most confident of ` : '';
  return html`<p>${shown}${counted(count, 'wrong answer')}, the most confident first, as the model saw the images. Look
here for wrong labels before you look for a better model.</p>
${mapsNote(mistakes)}
<div class="mistakes">${mistakes.map((mistake) => card(mistake, source))}</div>`;
}

/** What the second pictures are. */
function mapsNote(mistakes: Mistake[]): Html | false {
  const explained = mistakes.filter(({ gradCam, occlusion }) => gradCam || occlusion);
  if (explained.length === 0) return false;
  const second = html`The second picture${
    explained.length < mistakes.length && html` of the first ${explained.length}`
  }`;
  if (explained.some(({ gradCam }) => gradCam)) {
    return html`<p class="note">${second} is a Grad-CAM map (Selvaraju et al. 2017): where it glows, the network's last map of
features spoke for the wrong answer. The depth of colour is relative to the deepest place of the same image.${
      explained.some(({ occlusion }) => occlusion) &&
      html` Where a largest drop is given it is an occlusion map instead: covering what glows took that much from the answer.`
    }</p>`;
  }
  return html`<p class="note">${second} is an occlusion map (Zeiler and Fergus 2014), for this model gives no map of features for
Grad-CAM: a grey patch is moved over the image, and where it glows, covering that place took probability from the wrong answer.
What glows is what the model answered from; the depth of colour is relative to the largest drop, which is given.</p>`;
}

function card(mistake: Mistake, source: string | undefined): Html {
  const { path, truth, predicted, confidence, truthProbability, picture, gradCam, occlusion } = mistake;
  return html`<article class="mistake"><div class="pair">${
    picture
      ? html`<img src="${picture}" alt="" width="128" height="128">`
      : html`<span class="unreadable">cannot be read any more</span>`
  }${gradCam && html`<img src="${gradCam.picture}" alt="Grad-CAM map" width="128" height="128">`}${
    occlusion && html`<img src="${occlusion.picture}" alt="occlusion map" width="128" height="128">`
  }</div>
<p><b class="said">${named(predicted)}</b> ${formatShare(confidence)}<br>
is <b>${named(truth)}</b> ${formatShare(truthProbability)}</p>
<p class="file">${named(withinData(path, source))}${gradCam?.empty && html`<br>no place spoke for it`}${
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
