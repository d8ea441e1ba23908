import { basename, dirname, join } from 'node:path';
import type { Mistake, ReportContent } from './content.js';
import { counted, formatShare } from './format.js';
import { type Html, html, named } from './html.js';

/** The most confident wrong answers as pictures. */
export function mistakesSection({ mistakes, outcomes }: ReportContent): Html {
  return html`<section id="mistakes"><h2>Where it was most wrong</h2>
${body(mistakes, outcomes !== undefined)}</section>`;
}

function body(mistakes: Mistake[] | undefined, isKnown: boolean): Html {
  if (!mistakes || !isKnown)
    return html`<p class="missing">The answers on single images were not at hand.</p>`;
  if (mistakes.length === 0) return html`<p class="missing">No validation image was classified wrongly.</p>`;
  const explained = mistakes.filter(({ occlusion }) => occlusion).length;
  return html`<p>${counted(mistakes.length, 'wrong answer')}, the most confident first, as the model saw the images. Look
here for wrong labels before you look for a better model.</p>
${
  explained > 0 &&
  html`<p class="note">The second picture${explained < mistakes.length && html` of the first ${explained}`} is an occlusion
map (Zeiler and Fergus 2014), not Grad-CAM: a grey patch is moved over the image, and where it glows, covering that place
took probability from the wrong answer. What glows is what the model answered from; the depth of colour is relative to
the largest drop, which is given.</p>`
}
<div class="mistakes">${mistakes.map(card)}</div>`;
}

function card({ path, truth, predicted, confidence, truthProbability, picture, occlusion }: Mistake): Html {
  return html`<article class="mistake"><div class="pair">${
    picture
      ? html`<img src="${picture}" alt="" width="128" height="128">`
      : html`<span class="unreadable">cannot be read any more</span>`
  }${occlusion && html`<img src="${occlusion.picture}" alt="occlusion map" width="128" height="128">`}</div>
<p><b class="said">${named(predicted)}</b> ${formatShare(confidence)}<br>
is <b>${named(truth)}</b> ${formatShare(truthProbability)}</p>
<p class="file" title="${path}">${named(join(basename(dirname(path)), basename(path)))}${
    occlusion && html`<br>largest drop ${formatShare(occlusion.largestDrop)}`
  }</p></article>
`;
}
