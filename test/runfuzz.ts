import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { addReport } from '/work/wt/files/src/cli/report.js';
const run = '/tmp/files/runfuzz'; mkdirSync(run, { recursive: true });
const base = readFileSync('/tmp/files/run/run.json', 'utf8');
let state = Number(process.argv[2] ?? 1);
function below(n: number) { state = (state + 0x6d2b79f5) | 0; let z = Math.imul(state ^ (state >>> 15), 1 | state); z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z; return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * n); }
function paths(v: any, at: (string|number)[] = []): (string|number)[][] { if (v === null || typeof v !== 'object') return [at]; return [at, ...Object.keys(v).flatMap(k => paths(v[k], [...at, k]))]; }
const all = paths(JSON.parse(base)).filter(p => p.length > 0 && !(p.includes('epochs') && below(10) > 0));
const odd: any[] = [null, 'text', -1, 1e300, 0.5, [], {}, true, [null], { a: 1 }];
const bad: Record<string, number> = {};
const seen: Record<string, number> = {};
const out = process.stdout.write.bind(process.stdout); (process.stdout as any).write = () => true; (process.stderr as any).write = () => true;
for (let i = 0; i < Number(process.argv[3] ?? 600); i++) {
  const json = JSON.parse(base); const p = all[below(all.length)]!; let o: any = json; for (const k of p.slice(0, -1)) o = o[k];
  const last = p.at(-1)!; if (below(3) === 0) delete o[last]; else o[last] = odd[below(odd.length)];
  let text = JSON.stringify(json); if (below(10) === 0) { const b = Buffer.from(base); const q = below(b.length); b[q] = b[q]! ^ (1 << below(8)); text = b.toString('latin1'); }
  writeFileSync(`${run}/run.json`, text);
  try { const c = new Command(); addReport(c); await c.parseAsync(['node', 'x', 'report', run]); seen.ok = (seen.ok ?? 0) + 1; }
  catch (e: any) { if (typeof e.code === 'string' && e.name === 'TorchgraftError') seen[e.code] = (seen[e.code] ?? 0) + 1; else { const key = `${p.filter(x => !/^\d+$/.test(String(x))).join('.')} -> ${e.name}: ${String(e.message).slice(0, 80)}`; bad[key] = (bad[key] ?? 0) + 1; } }
}
out(JSON.stringify(seen) + '\n' + Object.entries(bad).map(([k, n]) => `${n} ${k}`).join('\n') + '\n');
process.exit(0);
