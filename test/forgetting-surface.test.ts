/** Retention where people meet it: flags of the command line, the report, the lines at the end. */
import t from 'tap';
import { parseRegularisation } from '../src/cli/regularisation.js';
import { retentionOf } from '../src/forgetting/retention.js';
import { retentionSection } from '../src/html-report/retention-section.js';

t.test('--regularisation', (t) => {
  t.same(parseRegularisation('l2-sp'), { kind: 'l2-sp' });
  t.same(parseRegularisation('l2-sp:3'), { kind: 'l2-sp', alpha: 3 });
  t.same(parseRegularisation('l2-sp:3:0'), { kind: 'l2-sp', alpha: 3, beta: 0 });
  t.same(parseRegularisation('ewc:50'), { kind: 'ewc', lambda: 50 });
  for (const wrong of ['l2', 'ewc:', 'ewc:1:2', 'l2-sp:-1', 'l2-sp:1:2:3', 'ewc:x']) {
    t.throws(() => parseRegularisation(wrong), { code: 'commander.invalidArgument' }, wrong);
  }
  t.end();
});

t.test('agreement and divergence', (t) => {
  const rows = (...values: number[][]) => values.map((row) => Float32Array.from(row));
  const said = rows([Math.log(0.5), Math.log(0.5)], [Math.log(0.9), Math.log(0.1)]);
  const now = rows([Math.log(0.25), Math.log(0.75)], [Math.log(0.9), Math.log(0.1)]);
  const { agreement, divergence } = retentionOf(now, [0, 0], said);
  t.equal(agreement, 0.5);
  const wanted = (0.5 * Math.log(0.5 / 0.25) + 0.5 * Math.log(0.5 / 0.75)) / 2;
  t.ok(Math.abs(divergence - wanted) < 1e-6);
  // Logits, not probabilities: a constant more changes nothing.
  const shifted = now.map((row) => row.map((value) => value + 7));
  t.ok(Math.abs(retentionOf(shifted, [0, 0], said).divergence - wanted) < 1e-6);
  t.end();
});

t.test("the report's section", (t) => {
  t.equal(retentionSection(undefined), undefined);
  const before = { agreement: 0.8, divergence: 0 };
  const after = { agreement: 0.25, divergence: 1.5 };
  const text = retentionSection({ images: 40, labels: 'given', before, after })?.text ?? '';
  for (const part of ['id="retention"', '25.0 %', '80.0 %', '1.5000', 'accuracy'])
    t.ok(text.includes(part), part);
  const pseudo = retentionSection({ images: 40, labels: 'source', before, after })?.text ?? '';
  t.ok(pseudo.includes('agreement') && pseudo.includes('labelled itself'));
  t.end();
});
