import { type Fragment, type Html, html } from './html.js';

export interface TableRow {
  /** Stands out. */
  isMarked?: boolean;
  /** The first names the row. */
  cells: Fragment[];
}

/** A table that scrolls in a box of its own where it is wider than the page; all but the first column are numbers. */
export function table({ label, head, rows }: { label: string; head: Fragment[]; rows: TableRow[] }): Html {
  return scrolling(
    label,
    html`<table><thead><tr>${head.map((title) => html`<th scope="col">${title}</th>`)}</tr></thead><tbody>
${rows.map(
  ({ isMarked, cells: [first, ...rest] }) =>
    html`<tr${isMarked && html` class="marked"`}><th scope="row">${first}</th>${rest.map((cell) => html`<td>${cell}</td>`)}</tr>
`,
)}</tbody></table>`,
  );
}

/** A box that scrolls sideways, by keys too. */
export function scrolling(label: string, content: Html): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}">${content}</div>`;
}

/** Names and what they stand for; entries without a value are left out. */
export function facts(entries: [string, Fragment][]): Html {
  return html`<dl class="facts">${entries
    .filter(([, value]) => value !== undefined && value !== false && value !== '' && value !== null)
    .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}
