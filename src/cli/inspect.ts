import type { Command } from 'commander';
import { loadModel } from '../model.js';
import { listNames } from '../name-list.js';
import type { HeadDescription } from '../native.js';
import { type PlanOptions, planModel } from '../plan.js';
import { modelTable } from '../report/model-table.js';
import { planLines } from '../report/plan-lines.js';
import { visible } from '../report/visible.js';
import { modelFile, wholeNumber } from './arguments.js';
import { headLayer } from './graft-flags.js';
import { inspectSafely } from './inspect-safe.js';
import { print, printJson } from './output.js';

interface InspectFlags {
  plan?: boolean;
  strategy: string;
  imageSize?: number;
  headLayer?: string;
  json?: boolean;
  safe?: boolean;
}

function planOptions({ strategy, imageSize, headLayer: layer }: InspectFlags): PlanOptions {
  return { strategy, ...(imageSize === undefined ? {} : { imageSize }), ...(layer ? { layer } : {}) };
}

/** For example `fc (512 -> 10, cosine, on max and avg pooling)`. */
function describeHead(head: HeadDescription): string {
  const { module, inFeatures, outFeatures, role, cosine, pooling, after } = head;
  const parts = [`${inFeatures} -> ${outFeatures}`];
  if (role === 'auxiliary') parts.push('auxiliary');
  if (cosine) parts.push('cosine');
  if (pooling) parts.push(pooling === 'concat' ? 'on max and avg pooling' : 'on avg pooling');
  if (after.length > 0) parts.push(`then ${after.join(', ')}`);
  return `${module} (${parts.join(', ')})`;
}

/** `torchgraft inspect`. */
export function define(command: Command): Command {
  return command
    .argument('<model>', 'TorchScript model, or run folder')
    .option(
      '--plan',
      'show where fine-tuning would split the model into a frozen and a learning part, and how they are computed',
    )
    .option('--strategy <name>', 'for --plan, what learns: head, last:K, full, norm or bias', 'head')
    .option(
      '--image-size <px>',
      "for --plan, side of the images (default: the model's own, or 224)",
      wholeNumber(1),
    )
    .option(...headLayer)
    .option('--safe', 'look at the file without opening it: nothing of it runs')
    .option('--json', 'one JSON object on standard output')
    .action(async (path: string, flags: InspectFlags) => {
      if (flags.safe) return inspectSafely(modelFile(path), flags.json === true);
      await using model = await loadModel(modelFile(path), flags.plan ? {} : { device: 'cpu', threads: 1 });
      const summary = await model.summary();
      const plan = flags.plan ? await planModel(model, planOptions(flags)) : undefined;
      if (flags.json) {
        const { notices, card, bytes, origin: file } = model;
        const content = { ...summary, notices, card, bytes, file, ...(plan ? { plan } : {}) };
        printJson(content);
        return;
      }
      const heads = summary.heads.map(describeHead);
      const { adapters, inputChannels, headProblem, unusedLayers } = summary;
      const lines = [
        modelTable(summary),
        '',
        `origin   ${summary.origin}`,
        `inputs   ${summary.inputs.map(({ name, type }) => `${name}: ${type}`).join(', ')}`,
        `output   ${summary.output}`,
        `head     ${heads.join(', ') || `none found. ${headProblem ?? ''}`}`,
        ...(inputChannels === null ? [] : [`channels ${inputChannels}`]),
        ...(adapters.length > 0
          ? [`adapters ${adapters.length} of rank ${adapters[0]?.rank}, not merged`]
          : []),
        ...(unusedLayers.length > 0 ? [`unused   ${unusedLayers.join(', ')}: forward never uses them`] : []),
        ...(model.card ? [visible(`classes  ${listNames(model.card.classes, 100)}`)] : []),
        ...(plan ? planLines(plan) : []),
        ...model.notices.map((notice) => visible(`note     ${notice}`)),
      ];
      print(lines.join('\n'));
    });
}
