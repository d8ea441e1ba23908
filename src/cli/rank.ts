import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Normalisation, normalisation } from '../data/preprocessing.js';
import { type AppendedFeatures, appendedFeatures } from '../head-options.js';
import { type Candidate, type RankBy, type Ranking, rankModels } from '../probe/rank.js';
import { rankingTable } from '../report/ranking-table.js';
import { normalisationName, readData, requireOptions, sideOf, wholeNumber } from './arguments.js';
import { print, printJson, say } from './output.js';
import { addReading, type ReadingFlags, readingOf, skippedLines } from './reading-flags.js';

interface RankFlags extends ReadingFlags {
  data: string;
  normalise?: PerModel<Normalisation>;
  imageSize?: PerModel<number>;
  headLayer?: PerModel<string>;
  appendHead?: PerModel<AppendedFeatures>;
  by: RankBy;
  batchSize: number;
  seed: number;
}

/** Values by model file; under '' what is for all without one of their own. */
type PerModel<T> = ReadonlyMap<string, T>;

const size = wholeNumber(1);

/** `torchgraft rank`. */
export function define(command: Command): Command {
  command
    .argument('<model...>', 'TorchScript models, or run folders')
    .option('--data <dir>', 'folder or manifest')
    .option(
      '--normalise <[file:]name>',
      'mean and standard deviation of one model or of all: imagenet, signed or none; may be repeated',
      perModel(normalisationName),
    )
    .option(
      '--image-size <[file:]px>',
      "side of the square images that one model or all get; may be repeated (default: the model's own, or 224)",
      perModel(size),
    )
    .option(
      '--head-layer <[file:]path>',
      'the layer that classifies, of one model or of all; may be repeated (default: known from the file, or found)',
      perModel((text) => text),
    )
    .option(
      '--append-head <[file:]features>',
      'of one model or of all, for networks without a classifier: pooled, classToken or both; may be repeated',
      perModel(appendedName),
    )
    .addOption(
      new Option('--by <figure>', 'figure to sort the table by')
        .choices(['logME', 'hScore', 'accuracy', 'macroF1'])
        .default('macroF1'),
    )
    .option('--batch-size <n>', 'images per batch', wholeNumber(1), 32)
    .option(
      '--seed <n>',
      "of the probe's folds, and of the split that is made where the data has none",
      wholeNumber(0),
      0,
    );
  return addReading(command).action(async (models: string[], flags: RankFlags, self: Command) => {
    requireOptions(self, ['data']);
    refuseUnused(flags, models, self);
    const data = await readData(flags.data, flags.seed, undefined, readingOf(flags));
    const ranking = await rankModels(
      models.map((file) => toCandidate(file, flags)),
      data,
      {
        ...{ by: flags.by, device: flags.device, seed: flags.seed, batchSize: flags.batchSize },
        ...readingOf(flags),
        onModel: (file) => say(`measuring ${file}`),
      },
    );
    if (flags.json) printJson(ranking);
    else print(render(ranking));
    if (ranking.models.length === 0) process.exitCode = 1;
  });
}

function render(ranking: Ranking): string {
  const skipped = ranking.models.flatMap((model) => model.skipped);
  return [rankingTable(ranking), ...skippedLines(skipped)].join('\n');
}

/** `file:value` or `value`, many times; a file may hold colons itself. */
function perModel<T>(read: (text: string) => T): (text: string, before?: PerModel<T>) => PerModel<T> {
  return (text, before = new Map()) => {
    const at = text.lastIndexOf(':');
    return new Map(before).set(text.slice(0, Math.max(0, at)), read(text.slice(at + 1)));
  };
}

function appendedName(text: string): AppendedFeatures {
  const found = appendedFeatures.find((name) => name === text);
  if (found) return found;
  throw new InvalidArgumentError(`Expected ${appendedFeatures.join(', ')}.`);
}

function refuseUnused(
  { normalise = new Map(), imageSize = new Map(), headLayer = new Map(), appendHead = new Map() }: RankFlags,
  models: string[],
  self: Command,
): void {
  const named = [...normalise.keys(), ...imageSize.keys(), ...headLayer.keys(), ...appendHead.keys()];
  const stray = named.find((file) => file !== '' && !models.includes(file));
  if (stray !== undefined) self.error(`error: an option names ${stray}, which is not one of the models`);
}

/** A run folder's model; any other path as it is, so that what is wrong with it is listed in the ranking. */
function runModel(path: string): string {
  const file = join(path, 'model.pt');
  return existsSync(file) ? file : path;
}

function toCandidate(
  file: string,
  { normalise = new Map(), imageSize = new Map(), headLayer = new Map(), appendHead = new Map() }: RankFlags,
): Candidate {
  const layer = headLayer.get(file) ?? headLayer.get('');
  const append = appendHead.get(file) ?? appendHead.get('');
  const name = normalise.get(file) ?? normalise.get('');
  const side = imageSize.get(file) ?? imageSize.get('');
  return {
    file: runModel(file),
    ...(layer ? { layer } : {}),
    ...(append ? { append } : {}),
    preprocessing: { ...(side ? sideOf(side) : {}), ...(name ? normalisation(name) : {}) },
  };
}
