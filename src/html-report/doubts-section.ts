import type { DataAudit } from '../audit/data-audit.js';
import { type LabelIssue, weaknessOf } from '../audit/label-issues.js';
import type { NearDuplicate } from '../audit/near-duplicates.js';
import type { ReportContent } from './content.js';
import { shownOf } from './doubts.js';
import { counted, formatShare } from './format.js';
import { type Html, html, named } from './html.js';
import { withinData } from './mistakes-section.js';

/** What may be wrong with the data, as pictures. */
export function doubtsSection({ record, doubted = {} }: ReportContent): Html | undefined {
  const audit = record.baselines?.audit;
  if (!audit) return undefined;
  const { pairs, issues } = shownOf(audit);
  const place = (path: string) => named(withinData(path, record.data.source));
  return html`<section id="doubts"><h2>What may be wrong with the data</h2>
<p>${duplicateLine(audit)}</p>
${pairs.length > 0 && html`<div class="mistakes">${pairs.map((pair) => pairCard(pair, doubted, place))}</div>`}
<p>${labelLine(audit)}</p>
${issues.length > 0 && html`<div class="mistakes">${issues.map((issue) => issueCard(issue, doubted, place))}</div>`}</section>`;
}

function duplicateLine({ duplicates: { found, images } }: DataAudit): Html {
  if (found === 0) return html`No two of ${counted(images, 'image')} in different splits look the same.`;
  return html`<b>${counted(found, 'pair')}</b> of images in different splits, of ${counted(images, 'image')}, look the same. What a model has seen
in training it knows by heart, so the figures above flatter it. Keep one of each.`;
}

function labelLine({ labels }: DataAudit): Html {
  if (!labels)
    return html`Labels were not looked at: the model has no features that a probe could learn from.`;
  if (labels.found === 0)
    return html`No label of ${counted(labels.images, 'training image')} is contradicted by a probe that did not see it.`;
  return html`<b>${counted(labels.found, 'label')}</b> of ${counted(labels.images, 'training image')} may be wrong: a probe that did not
see the image confidently takes it for another class (Northcutt, Jiang and Chuang 2021). Hard images are among them. ${weaknessOf(labels.accuracy ?? 1) ?? ''}`;
}

type Pictures = Record<string, string>;
type Place = (path: string) => ReturnType<typeof named>;

function pairCard({ first, second, likeness }: NearDuplicate, drawn: Pictures, place: Place): Html {
  const labels =
    first.class === second.class
      ? html`both ${named(first.class)}`
      : html`${named(first.class)} and ${named(second.class)}`;
  return html`<article class="mistake"><div class="pair">${picture(drawn[first.path])}${picture(drawn[second.path])}</div>
<p>${first.split} and ${second.split}, ${labels}<br>alike to ${likeness.toFixed(2)}</p>
<p class="file">${place(first.path)}<br>${place(second.path)}</p></article>
`;
}

function issueCard({ path, given, suggested, probability }: LabelIssue, drawn: Pictures, place: Place): Html {
  return html`<article class="mistake"><div class="pair">${picture(drawn[path])}</div>
<p>labelled <b>${named(given)}</b> ${formatShare(probability.given)}<br>
more like <b class="said">${named(suggested)}</b> ${formatShare(probability.suggested)}</p>
<p class="file">${place(path)}</p></article>
`;
}

function picture(drawn: string | undefined): Html {
  return drawn
    ? html`<img src="${drawn}" alt="" width="128" height="128">`
    : html`<span class="unreadable">cannot be read any more</span>`;
}
