import type { Command } from 'commander';
import { loadModel } from '../model.js';
import { modelTable } from '../report/model-table.js';
import { modelFile } from './arguments.js';

/** `torchgraft inspect`. */
export function addInspect(program: Command): Command {
  return program
    .command('inspect')
    .description("A model's layers, parameters, heads, and what to know before training it")
    .argument('<model>', 'TorchScript model, or run folder')
    .option('--json', 'one JSON object on standard output')
    .action(async (path: string, { json }: { json?: boolean }) => {
      await using model = await loadModel(modelFile(path), { device: 'cpu', threads: 1 });
      const summary = await model.summary();
      if (json) {
        const { notices, card, bytes, origin: file } = model;
        process.stdout.write(`${JSON.stringify({ ...summary, notices, card, bytes, file })}\n`);
        return;
      }
      const heads = summary.heads.map((head) => `${head.module} (${head.inFeatures} -> ${head.outFeatures})`);
      const lines = [
        modelTable(summary),
        '',
        `origin   ${summary.origin}`,
        `inputs   ${summary.inputs.map(({ name, type }) => `${name}: ${type}`).join(', ')}`,
        `output   ${summary.output}`,
        `head     ${heads.join(', ') || 'none found'}`,
        ...(model.card ? [`classes  ${model.card.classes.join(', ')}`] : []),
        ...model.notices.map((notice) => `note     ${notice}`),
      ];
      process.stdout.write(`${lines.join('\n')}\n`);
    });
}
