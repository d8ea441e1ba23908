import type { RetentionReport } from '../forgetting/retention.js';
import { counted, formatShare } from './format.js';
import { type Html, html } from './html.js';
import { table } from './table.js';

/** What is left of the source task; nothing where it was not measured. */
export function retentionSection(retention: RetentionReport | undefined): Html | undefined {
  if (!retention) return undefined;
  const { images, labels, before, after } = retention;
  const right = labels === 'given' ? 'right' : 'as before';
  return html`<section id="retention"><h2>What is left of the source task</h2>
<p>The pretrained network's own head, put on the fine-tuned trunk, was asked about ${counted(images, 'image')} of the source
task${labels === 'source' && html`, which the pretrained network had labelled itself`}: it is ${right} on
<strong>${formatShare(after.agreement)}</strong> of them${labels === 'given' && html`, after ${formatShare(before.agreement)} before`}.</p>
${table({
  label: 'Retention before and after fine-tuning',
  head: ['', labels === 'given' ? 'accuracy' : 'agreement', 'divergence (nats)'],
  rows: [['pretrained', before] as const, ['fine-tuned', after] as const].map(
    ([name, { agreement, divergence }]) => ({
      cells: [name, formatShare(agreement), divergence.toFixed(4)],
    }),
  ),
})}
<p class="note">Divergence: mean Kullback-Leibler divergence of the head's probabilities from the pretrained network's.</p>
</section>`;
}
