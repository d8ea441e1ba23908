/** Colours by what they mean, for light and dark; charts and tables use no others. */
const palette = `
:root { color-scheme: light dark;
  --paper: #fbfaf6; --card: #ffffff; --ink: #1c211e; --muted: #5f6862; --rule: #c9cec7; --faint: #e6e8e2;
  --val: #14694d; --f1: #7a8f1f; --train: #b5622a; --rate: #55619e; --hit: #2d8a67; --miss: #c2452d;
  --on-strong: #ffffff; --soft: #eef3ed; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #121614; --card: #1a1f1c; --ink: #e7e9e4; --muted: #9ca69f; --rule: #3b443e; --faint: #262d29;
  --val: #5cc79d; --f1: #c3cf62; --train: #e79a5f; --rate: #9daaf0; --hit: #3d9d78; --miss: #d9604a;
  --on-strong: #ffffff; --soft: #1c2621; } }`;

const type = `
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1, h2 { font-family: "Iowan Old Style", "Palatino Linotype", Palatino, Charter, Georgia, serif; font-weight: 600;
  line-height: 1.15; letter-spacing: -0.01em; text-wrap: balance; }
h1 { font-size: clamp(2rem, 6vw, 3.1rem); margin: 0.3rem 0 0.9rem; }
h2 { font-size: 1.65rem; margin: 0 0 0.5rem; }
h3 { font-size: 0.8rem; margin: 1.2rem 0 0.4rem; text-transform: uppercase; letter-spacing: 0.07em; color: var(--muted); }
p { margin: 0 0 0.9rem; max-width: 44rem; }
section { border-top: 1px solid var(--rule); margin-top: 2.75rem; padding-top: 1.75rem; scroll-margin-top: 1rem; }
code { font: 0.86em/1.4 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
bdi { overflow-wrap: anywhere; }
a { color: var(--val); }
.overline { color: var(--muted); font-size: 0.85rem; letter-spacing: 0.02em; margin: 0; }
.lead { font-size: 1.1rem; max-width: 46rem; }
.note, .file, footer { color: var(--muted); font-size: 0.85rem; }
.missing { color: var(--muted); font-style: italic; }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; margin-top: 1.75rem; font-size: 0.92rem; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--val); font-size: 0.92rem; }
pre { background: var(--card); border: 1px solid var(--faint); border-radius: 8px; padding: 0.9rem; overflow-x: auto;
  font: 0.8rem/1.45 ui-monospace, Menlo, Consolas, monospace; }
footer { border-top: 1px solid var(--rule); margin-top: 3rem; padding-top: 1rem; }`;

const headline = `
.baselines { margin: 1.6rem 0 0.6rem; display: grid; gap: 0.5rem; max-width: 46rem; }
.baseline { display: grid; grid-template-columns: minmax(8rem, 12rem) 1fr 4.2rem; gap: 0.8rem; align-items: center; }
.baseline .name { font-size: 0.92rem; } .baseline .value { text-align: right; }
.baseline.model .name, .baseline.model .value { font-weight: 650; }
.track { position: relative; height: 1.05rem; background: var(--faint); border-radius: 3px; }
.fill { position: absolute; inset: 0 auto 0 0; width: var(--share); background: var(--rule); border-radius: 3px; }
.model .fill { background: var(--hit); }
.whisker { position: absolute; top: 50%; left: var(--from); width: calc(var(--to) - var(--from)); height: 2px;
  margin-top: -1px; background: var(--ink); }
.whisker::before, .whisker::after { content: ""; position: absolute; top: -4px; width: 2px; height: 10px;
  background: var(--ink); }
.whisker::before { left: 0; } .whisker::after { right: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 0.75rem; margin: 1.5rem 0; }
.tile { background: var(--card); border: 1px solid var(--faint); border-radius: 10px; padding: 0.75rem 0.9rem; }
.tile b { display: block; font-size: 1.25rem; font-weight: 600; line-height: 1.25; white-space: nowrap; }
.tile span { color: var(--muted); font-size: 0.85rem; }
.remarks { background: var(--soft); border-radius: 10px; padding: 0.9rem 1.1rem; margin: 1.5rem 0 0; }
.remarks h3 { margin-top: 0; } .remarks ul, .limits { margin: 0; padding-left: 1.1rem; max-width: 48rem; }
.remarks li, .limits li { margin: 0.25rem 0; overflow-wrap: anywhere; }`;

const charts = `
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
.chart { display: flex; flex-direction: column; margin: 0; background: var(--card); border: 1px solid var(--faint); border-radius: 10px; padding: 0.9rem 0.9rem 0.4rem; }
.chart svg { display: block; width: 100%; height: auto; margin-top: auto; }
.chart svg text { font-family: inherit; }
figcaption { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; align-items: baseline; margin-bottom: 0.4rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0 0.9rem; font-size: 0.82rem; color: var(--muted); }
.key { display: inline-flex; align-items: center; gap: 0.4rem; }
.key i { width: 1.3rem; border-top: 3px solid var(--c); } .key i.dashed { border-top-style: dashed; }`;

const tables = `
.scroll { overflow-x: auto; max-width: 100%; } .scroll:focus-visible { outline: 2px solid var(--val); }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.36rem 0.75rem; text-align: right; border-bottom: 1px solid var(--faint); white-space: nowrap; }
tbody th, thead th:first-child { text-align: left; font-weight: 400; padding-left: 0; }
tbody th { max-width: 18rem; white-space: normal; min-width: 7rem; position: sticky; left: 0; background: var(--paper); }
thead th { color: var(--muted); font-weight: 500; font-size: 0.82rem; vertical-align: bottom; border-bottom-color: var(--rule); }
tr.marked th, tr.marked td { font-weight: 650; background: var(--soft); } tr.marked th { padding-left: 0.5rem; }
.meter { display: inline-block; min-width: 5.5rem; padding: 0 0.3rem; background: linear-gradient(to right,
  color-mix(in oklab, var(--hit) 24%, transparent) var(--share), transparent var(--share)); border-radius: 3px; }
.confusion { display: grid; grid-template-columns: minmax(0, auto) minmax(16rem, 1fr); gap: 1.5rem 2.5rem; align-items: start; }
.confusion h3 { margin-top: 0.3rem; }
.matrix { border-collapse: separate; border-spacing: 2px; }
.matrix td { min-width: 2.7rem; height: 2.3rem; padding: 0.2rem 0.4rem; text-align: center; border: 0; border-radius: 4px; }
.matrix th { border: 0; } .matrix tbody th { padding-right: 0.6rem; }
.matrix thead th { text-align: center; } .matrix.tall thead th span { writing-mode: vertical-rl; transform: rotate(180deg);
  max-height: 12rem; overflow: hidden; text-overflow: ellipsis; }
 .matrix .corner { font-size: 0.75rem; text-align: left; }
.confusion.wide { grid-template-columns: minmax(0, 1fr); } .matrix.tall { font-size: 0.8rem; }
.matrix.tall td { min-width: 2rem; height: 1.8rem; padding: 0.1rem 0.2rem; }
.matrix.tall tbody th { max-width: 13rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.matrix .hit { background: color-mix(in oklab, var(--hit) var(--share, 0%), var(--faint)); }
.matrix .miss { background: color-mix(in oklab, var(--miss) var(--share, 0%), var(--faint)); }
.matrix .none { color: var(--rule); } .matrix .strong { color: var(--on-strong); font-weight: 600; }
.facts { margin: 0; font-size: 0.9rem; }
.facts div { display: grid; grid-template-columns: 8.5rem 1fr; gap: 0.8rem; padding: 0.32rem 0; border-bottom: 1px solid var(--faint); }
.facts dt { color: var(--muted); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: 0.5rem 2rem; }
.layers { font-size: 0.9rem; }
.cut { display: flex; gap: 2px; height: 1.1rem; border-radius: 4px; overflow: hidden; margin: 1rem 0 0.3rem; }
.cut .frozen { flex: 0 1 var(--share); background: var(--rate); opacity: 0.75; }
.cut .learns { flex: 1 0 3px; background: var(--hit); }
.cut-names { display: flex; justify-content: space-between; max-width: none; }`;

const mistakes = `
.mistakes + p { margin-top: 1.2rem; }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(16.5rem, 1fr)); gap: 0.9rem; }
.mistake { background: var(--card); border: 1px solid var(--faint); border-radius: 10px; padding: 0.7rem; }
.mistake p { margin: 0.5rem 0 0; font-size: 0.9rem; line-height: 1.4; } .mistake .file { font-size: 0.78rem; overflow-wrap: anywhere; }
.mistake .said { color: var(--miss); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0.4rem; }
.pair img, .pair .unreadable { width: 100%; height: auto; aspect-ratio: 1; border-radius: 5px; display: block; }
.pair .unreadable { display: grid; place-items: center; background: var(--faint); color: var(--muted); font-size: 0.8rem; text-align: center; padding: 0.5rem; }`;

const narrow = `
@media (max-width: 46rem) {
  main { padding: 1.5rem 1rem 3rem; } .lead { font-size: 1.02rem; }
  .confusion { grid-template-columns: minmax(0, 1fr); }
  .baseline { grid-template-columns: 1fr auto; gap: 0.15rem 0.8rem; } .baseline .track { grid-column: 1 / -1; grid-row: 2; }
  .facts div { grid-template-columns: 7rem 1fr; }
  .mistakes { grid-template-columns: repeat(auto-fill, minmax(min(100%, 16.5rem), 1fr)); }
}`;

const print = `
@media print {
  :root { color-scheme: light; --paper: #fff; --card: #fff; --ink: #111; --muted: #555; --rule: #bbb; --faint: #e4e4e0;
    --val: #14694d; --f1: #7a8f1f; --train: #b5622a; --rate: #55619e; --hit: #2d8a67; --miss: #c2452d; --soft: #eef3ed; }
  @page { margin: 15mm; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; } nav { display: none; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .chart, .mistake, .tile, tr, .baselines { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .charts { grid-template-columns: 1fr 1fr; } .confusion { grid-template-columns: 1fr; }
  .mistakes { grid-template-columns: repeat(3, 1fr); } .scroll { overflow: visible; }
}`;

/** The report's whole style sheet. It names no file and no address. */
export const style = [palette, type, headline, charts, tables, mistakes, narrow, print].join('\n');
