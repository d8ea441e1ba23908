import type { ClassificationMetrics } from '../metrics/classification.js';
import { confusionsOf } from '../metrics/confusions.js';
import { counted, formatCount, formatShare } from './format.js';
import { type Html, html, named } from './html.js';
import { scrolling, table } from './table.js';

/** More classes than this are no matrix that anybody reads. */
const matrixClasses = 30;
const pairCount = 12;

/** So many images of one class that were said to be of one class. */
type Cell = ReturnType<typeof confusionsOf>[number];

/** The confusion matrix with its counts, and what is confused most. */
export function confusionSection(metrics: ClassificationMetrics): Html {
  const names = metrics.perClass.map((scores) => scores.class);
  const cells = confusionsOf(metrics);
  const pairs = mistakesOf(cells);
  const shown =
    names.length <= matrixClasses ? names.map((_, index) => index) : mostConfused(pairs, names.length);
  // Names that stand side by side would be wider than the page: they stand on end.
  const isTall = shown.length > 8 || shown.some((index) => (names[index] as string).length > 12);
  return html`<section id="confusion"><h2>What it confuses</h2>
<p>Rows are true classes, columns what the model said. A cell’s depth of colour is its share of the row: green on the
diagonal is right, red off it is wrong.${
    shown.length < names.length &&
    html` Of ${names.length} classes the ${shown.length} with the most mistakes are shown.`
  }</p>
<div class="confusion${isTall && ' wide'}">${matrix(cells, names, shown, isTall)}${pairList(metrics, pairs, names)}</div></section>`;
}

function matrix(cells: readonly Cell[], names: string[], shown: number[], isTall: boolean): Html {
  const counts = new Map(cells.map(([truth, predicted, count]) => [`${truth} ${predicted}`, count]));
  const supports = new Map<number, number>();
  for (const [truth, , count] of cells) supports.set(truth, (supports.get(truth) ?? 0) + count);
  return scrolling(
    'Confusion matrix',
    html`<table class="matrix${isTall && ' tall'}"><thead><tr><th scope="col" class="corner">true ↓ said →</th>${shown.map(
      (column) =>
        html`<th scope="col" title="${names[column] as string}"><span>${named(names[column] as string)}</span></th>`,
    )}</tr></thead><tbody>
${shown.map((row) => {
  const support = supports.get(row) ?? 0;
  return html`<tr><th scope="row" title="${names[row] as string}">${named(names[row] as string)}</th>${shown.map(
    (column) => cell(counts.get(`${row} ${column}`) ?? 0, support, row === column),
  )}</tr>
`;
})}</tbody></table>`,
  );
}

function cell(count: number, support: number, isHit: boolean): Html {
  if (count === 0) return html`<td class="${isHit ? 'hit' : 'none'}">${isHit ? '0' : '·'}</td>`;
  const share = Math.round((100 * count) / support);
  const kind = `${isHit ? 'hit' : 'miss'}${share > 50 ? ' strong' : ''}`;
  return html`<td class="${kind}" style="--share:${Math.max(isHit ? 6 : 16, share)}%">${formatCount(count)}</td>`;
}

function pairList({ perClass }: ClassificationMetrics, pairs: readonly Cell[], names: string[]): Html {
  if (pairs.length === 0) return html`<p class="missing">No image was confused with another class.</p>`;
  return html`<div><h3>Most confused</h3>${table({
    label: 'Most confused pairs of classes',
    head: ['taken for', 'images', 'of the class'],
    rows: pairs.slice(0, pairCount).map(([truth, predicted, count]) => ({
      cells: [
        html`${named(names[truth] as string)} → ${named(names[predicted] as string)}`,
        formatCount(count),
        formatShare(count / (perClass[truth]?.support ?? count)),
      ],
    })),
  })}${
    pairs.length > pairCount &&
    html`<p class="note">And ${counted(pairs.length - pairCount, 'pair')} more.</p>`
  }</div>`;
}

/** Mistakes, the most frequent first. */
function mistakesOf(cells: readonly Cell[]): Cell[] {
  return cells.filter(([truth, predicted]) => truth !== predicted).sort(([, , a], [, , b]) => b - a);
}

/** Classes that take part in the most mistakes, in their own order. */
function mostConfused(pairs: readonly Cell[], classes: number): number[] {
  const mistakes = new Array<number>(classes).fill(0);
  for (const [truth, predicted, count] of pairs) {
    for (const one of [truth, predicted]) mistakes[one] = (mistakes[one] as number) + count;
  }
  return mistakes
    .map((count, index) => ({ count, index }))
    .sort((a, b) => b.count - a.count)
    .slice(0, matrixClasses)
    .map(({ index }) => index)
    .sort((a, b) => a - b);
}
