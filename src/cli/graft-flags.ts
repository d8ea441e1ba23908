import { type Command, Option } from 'commander';
import type { FineTuneOptions } from '../fine-tune/options.js';
import { type AppendedFeatures, appendedFeatures } from '../head-options.js';
import { collect, positiveNumber, wholeNumber } from './arguments.js';

/** Flags of what is put into the model before it learns: adapters, and the form of the head. */
export interface GraftFlags {
  loraRank?: number;
  loraAlpha?: number;
  loraTarget?: string[];
  head?: 'linear' | 'cosine';
  headLayer?: string;
  hidden?: number[];
  pooling?: 'avg' | 'concat';
  appendHead?: AppendedFeatures;
}

/** `--head-layer`, of every command that needs a head. */
export const headLayer = [
  '--head-layer <path>',
  'the layer that classifies, as `torchgraft inspect` lists it (default: known from the file, or found)',
] as const;

/** `--append-head`, of every command that needs features of a network. */
export function appendHead(): Option {
  return new Option(
    '--append-head <features>',
    'for a network without a classifier: put one behind it, on these features of what it returns',
  ).choices(appendedFeatures);
}

/** The options of {@link GraftFlags}. */
export function addGrafts(command: Command): Command {
  return command
    .option('--lora-rank <r>', 'for lora: rank of the adapters (default: 8)', wholeNumber(1))
    .option(
      '--lora-alpha <x>',
      'for lora: adapters are multiplied by alpha / rank (default: 2 * rank)',
      positiveNumber,
    )
    .option(
      '--lora-target <glob>',
      'for lora: layers that get an adapter; may be repeated (default: all but the head)',
      collect,
    )
    .addOption(
      new Option('--head <kind>', 'kind of the new head (default: linear)').choices(['linear', 'cosine']),
    )
    .option(...headLayer)
    .option(
      '--hidden <n>',
      'width of a hidden layer in the new head; may be repeated',
      (text: string, before: number[] = []) => [...before, wholeNumber(1)(text)],
    )
    .addOption(
      new Option('--pooling <name>', 'pooling before the new head (default: as the model has it)').choices([
        'avg',
        'concat',
      ]),
    )
    .addOption(appendHead());
}

/** What the flags say, as options of fineTune. */
export function toGrafts(flags: GraftFlags): Pick<FineTuneOptions, 'lora' | 'head'> {
  const {
    loraRank: rank,
    loraAlpha: alpha,
    loraTarget: targets = [],
    head: kind,
    headLayer: layer,
    hidden = [],
    pooling,
    appendHead: append,
  } = flags;
  const lora = {
    ...(rank === undefined ? {} : { rank }),
    ...(alpha === undefined ? {} : { alpha }),
    ...(targets.length > 0 ? { targets } : {}),
  };
  const head = {
    ...(kind ? { kind } : {}),
    ...(layer ? { layer } : {}),
    ...(hidden.length > 0 ? { hidden } : {}),
    ...(pooling ? { pooling } : {}),
    ...(append ? { append } : {}),
  };
  return {
    ...(Object.keys(lora).length > 0 ? { lora } : {}),
    ...(Object.keys(head).length > 0 ? { head } : {}),
  };
}
