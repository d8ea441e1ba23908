import { formatTable } from '../../lib/report/table.js';

/** Above this share of the processors in other hands before it began, a bench's figures are not to be quoted. */
const noisy = 0.1;

export function describeMachineLine(machine, version) {
  const { cpu, processors, kernels, bfloat16, memoryGb, system, node } = machine;
  return (
    `torchgraft ${version} on ${cpu}, ${processors} processors, ${kernels} kernels, ` +
    `${bfloat16.length > 0 ? bfloat16.join(' and ') : 'no bfloat16 instructions'}, ${memoryGb} GB, ${system}, Node ${node}`
  );
}

/** A bench's result for people. */
export function printResult({ bench, about, setting, load, skipped, failed, ...result }) {
  console.log(`\n## ${bench}: ${about}\n`);
  console.log(describeSetting(setting));
  if (skipped) return console.log(`\nNot run: ${skipped}`);
  if (failed) return console.log(`\nFAILED: ${failed}`);
  for (const { title, columns, rows } of result.tables) {
    const align = (column, index) => ({ title: column, align: index === 0 ? 'left' : 'right' });
    console.log(`\n${title ? `${title}\n\n` : ''}${formatTable(columns.map(align), rows)}`);
  }
  console.log('');
  for (const { ok, text } of result.checks)
    console.log(`- ${ok ? 'same work' : 'NOT THE SAME WORK'}: ${text}`);
  for (const note of result.notes) console.log(`- ${note}`);
  const others = (load.othersShare * 100).toFixed(0);
  console.log(
    `- load average before ${load.before.join(' ')}, after ${load.after.join(' ')}; other programs took ${others} % of ` +
      'the processors just before',
  );
  if (load.othersShare > noisy) {
    console.log(
      '- NOISY: the machine was busy before the bench began. Do not quote these figures, ratios included',
    );
  }
}

function describeSetting(setting) {
  return Object.entries(setting)
    .filter(([, value]) => value !== undefined && value !== false)
    .map(([name, value]) => (value === true ? name : `${name} ${value}`))
    .join(', ');
}
