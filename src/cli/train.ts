import { type Command, Option } from 'commander';
import { invalidValue } from '../errors.js';
import type { FineTuneOptions } from '../fine-tune/options.js';
import { requireOptions, wholeNumber } from './arguments.js';
import { type OutFlags, overwriteOption } from './out.js';
import type { TrainRequest } from './run.js';
import { addSlices, type SliceFlags, sliceRulesOf } from './slices.js';
import { addTraining, type TrainingFlags, toTrainingOptions } from './training-flags.js';

interface TrainFlags extends TrainingFlags, SliceFlags, OutFlags {
  groups?: string;
  groupLoss?: 'mean' | 'balanced' | 'dro';
  model: string;
  data: string;
  out: string;
  adapt?: string;
  adaptEpochs?: number;
  scratch?: boolean;
  modelLicence?: string;
  dataLicence?: string;
  report: boolean;
  tensorboard?: boolean;
  json?: boolean;
}

/** `torchgraft train`. */
export function define(command: Command): Command {
  command
    .optionsGroup('Input and output:')
    .option('--model <file>', 'TorchScript model, scripted or traced')
    .option(
      '--data <dir>',
      'folder with train/<class>/*, val/<class>/* or just <class>/*; or a .csv or .jsonl manifest',
    )
    .option('--out <run>', 'folder for model.pt, run.json, checkpoint.pt and report.html')
    .option('--resume', 'go on from the checkpoint in the run folder, if there is one')
    .option(...overwriteOption)
    .option('--no-report', 'do not write report.html')
    .option('--tensorboard', 'write the figures of each epoch to an event file for TensorBoard')
    .option('--json', 'one JSON object per line on standard output')
    .option(
      '--model-licence <words>',
      'licence of the pretrained model; kept in the saved model and shown in the report',
    )
    .option('--data-licence <words>', 'licence of the images, likewise');
  addTraining(command);
  return addSlices(command.optionsGroup('Slices and groups:'))
    .option(
      '--groups <slice>',
      'the slice that makes groups with each class; the worst group is measured as valWorstGroupAccuracy',
    )
    .addOption(
      new Option('--group-loss <name>', 'how groups are weighted (default: mean)').choices([
        'mean',
        'balanced',
        'dro',
      ]),
    )
    .optionsGroup('More trainings:')
    .option('--adapt <dir>', 'related labelled images to fine-tune on first')
    .option('--adapt-epochs <n>', 'epochs on those (default: as --epochs)', wholeNumber(1))
    .option('--scratch', 'also train the same network from random weights, to compare with')
    .action(async (flags: TrainFlags, self: Command) => {
      requireOptions(self, ['model', 'data', 'out']);
      const { runTraining } = await import('./run.js');
      process.exitCode = await runTraining(toRequest(flags));
    });
}

function toRequest(flags: TrainFlags): TrainRequest {
  const { model, data, out, device, json, resume, report } = flags;
  const { scratch = false, tensorboard = false, overwrite = false } = flags;
  const options = {
    ...toTrainingOptions(flags),
    ...groupsOf(flags),
    ...licencesOf(flags),
    resume: resume ?? false,
  };
  if (flags.adaptEpochs !== undefined && flags.adapt === undefined)
    throw invalidValue('train: --adapt-epochs goes with --adapt.');
  const adapt = flags.adapt && { data: flags.adapt, epochs: flags.adaptEpochs ?? flags.epochs };
  return {
    ...{
      model,
      data,
      out,
      device,
      isJson: json ?? false,
      report,
      scratch,
      tensorboard,
      overwrite,
      options,
      slices: sliceRulesOf(flags),
    },
    ...(adapt ? { adapt } : {}),
  };
}

function licencesOf({
  modelLicence: model,
  dataLicence: data,
}: TrainFlags): Pick<FineTuneOptions, 'licences'> {
  if (model === undefined && data === undefined) return {};
  return {
    licences: { ...(model === undefined ? {} : { model }), ...(data === undefined ? {} : { data }) },
  };
}

function groupsOf({ groups: slice, groupLoss: loss }: TrainFlags): Pick<FineTuneOptions, 'groups'> {
  if (slice !== undefined) return { groups: { slice, ...(loss ? { loss } : {}) } };
  if (loss) throw invalidValue('train: --group-loss needs --groups, the slice that it weighs by.');
  return {};
}
