import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { ModelCard } from '../card.js';
import type { ImageDataset } from '../data/dataset.js';
import type { SliceRules } from '../data/slices.js';
import type { Task } from '../data/task.js';
import { fineTune } from '../fine-tune/fine-tune.js';
import type { FineTuneOptions } from '../fine-tune/options.js';
import type { EpochReport } from '../fine-tune/report.js';
import type { FineTuneResult } from '../fine-tune/result.js';
import { type ScratchBaseline, trainFromScratch } from '../fine-tune/scratch.js';
import { saveAdapter } from '../lora/adapter-file.js';
import { loadModel, type Model } from '../model.js';
import type { Outcomes } from '../outcomes.js';
import { computationLines } from '../report/plan-lines.js';
import { Progress } from '../report/progress.js';
import { titleOf } from '../report/slice-tables.js';
import { visible } from '../report/visible.js';
import { makeRunRecord, withSlices } from '../run-record.js';
import { Stopwatch } from '../stopwatch.js';
import { readData } from './arguments.js';
import { batchDisplay } from './batch-display.js';
import { openModel } from './first-step.js';
import { listenForInterrupt } from './interrupt.js';
import { epochEvent, epochLine, scoresByName, secondsLine, stageLine, startLines, summary } from './lines.js';
import { checkOutFolder, removeEarlier } from './out.js';
import { printJson, progressStream, say } from './output.js';
import { skippedLines } from './reading-flags.js';
import { tryReport } from './report.js';
import { writeRunFile } from './run-file.js';
import { type Scalars, startScalars } from './scalars.js';

/** What `torchgraft train` was asked to do. */
export interface TrainRequest {
  model: string;
  data: string;
  out: string;
  device: string;
  isJson: boolean;
  /** Related data to fine-tune on first. */
  adapt?: { data: string; epochs: number };
  /** Write report.html. */
  report: boolean;
  /** Write a TensorBoard event file. */
  tensorboard: boolean;
  /** Train the same network from random weights too. */
  scratch: boolean;
  options: FineTuneOptions;
  /** Replace an earlier run. */
  overwrite: boolean;
  /** Slices of the data. */
  slices?: SliceRules | undefined;
}

/** What tells of an earlier run, and all that one leaves. */
const runMarks = ['model.pt', 'run.json', 'checkpoint.pt'];
const runFiles = [...runMarks, ...['report.html', 'adapter.safetensors', 'adapted.pt']];

/** Trains, and leaves model.pt, run.json, checkpoint.pt and report.html in the run folder. Returns the exit code. */
export async function runTraining(request: TrainRequest): Promise<number> {
  const { out, options, overwrite } = request;
  await checkOutFolder(out, runMarks, { overwrite, resume: options.resume ?? false });
  const interrupt = listenForInterrupt({
    now: `Finishing this batch, then saving a checkpoint in ${out}.`,
    then: () =>
      existsSync(join(out, 'checkpoint.pt'))
        ? 'To go on, run the same command with --resume.'
        : 'There was nothing to save yet.',
  });
  const started = performance.now();
  const watch = new Stopwatch();
  const data = await watch.spend('data', () =>
    readData(request.data, options.seed ?? 0, request.slices, options),
  );
  const tell = {
    say,
    emit: (event: Record<string, unknown>) => emit(request, event),
    signal: interrupt.signal,
  };
  await using model = await watch.spend('model', () => openModel(request, data, tell));
  await mkdir(out, { recursive: true });
  if (overwrite) await removeEarlier(out, runFiles);
  const { result, outcomes } = await train(model, data, request, interrupt.signal).finally(interrupt.stop);
  const file = join(out, 'model.pt');
  const adapter = await watch.spend('saving', async () => {
    await model.save(file);
    return writeAdapter(model, join(out, 'adapter.safetensors'));
  });
  const scratch = request.scratch
    ? await watch.spend('scratch', () => compareWithScratch(data, request))
    : {};
  const totals = {
    totalSeconds: (performance.now() - started) / 1000,
    peakRssMb: process.resourceUsage().maxRSS / 1024,
  };
  const { options: asked, isJson, ...rest } = request;
  const made = await withSlices(
    makeRunRecord(model, data, result),
    { model: { model, card: model.card as ModelCard }, data, outcomes },
    {
      threads: options.threads ?? availableParallelism(),
      ...(options.batchSize ? { batchSize: options.batchSize } : {}),
    },
  );
  const { data: reading, model: loading, ...later } = watch.seconds;
  const seconds = { data: reading, model: loading, ...result.seconds, ...later } as Record<string, number>;
  const record = { request: { ...rest, ...asked }, ...made, ...scratch, ...totals, seconds };
  const runFile = join(out, 'run.json');
  await writeRunFile(runFile, record);
  for (const line of summary(result, data.classes, file, { ...totals, ...scratch })) say(line);
  for (const report of record.slices ?? []) say(`slices ${titleOf(report)}: ${report.verdict}`);
  const report = request.report
    ? await watch.spend('report', () =>
        tryReport(join(out, 'report.html'), say, {
          ...{ model, data, result, record, modelFile: file },
          outcomes,
        }),
      )
    : undefined;
  if (report) {
    seconds.report = watch.seconds.report as number;
    await writeRunFile(runFile, record);
  }
  say(secondsLine(seconds));
  emit(request, {
    event: 'done',
    bestEpoch: result.best.epoch,
    ...scoresByName('bestVal', result.best.validation),
    ended: result.ended,
    stages: result.stages,
    decisions: result.decisions,
    ...(result.retention ? { retention: result.retention } : {}),
    ...(record.slices ? { slices: record.slices } : {}),
    ...(result.computation.features ? { features: result.computation.features } : {}),
    ...totals,
    seconds,
    model: file,
    ...(adapter ? { adapter } : {}),
    ...(report ? { report } : {}),
  });
  return 0;
}

/** Trains the same network from random weights, told line by line; nothing where that was interrupted. */
async function compareWithScratch(
  data: ImageDataset,
  request: TrainRequest,
): Promise<{ scratch?: ScratchBaseline<Task> }> {
  say('scratch the same network from random weights, all layers, as many epochs');
  const progress = new Progress({ stream: progressStream });
  const interrupt = listenForInterrupt({
    now: 'Finishing this batch. The comparison with random weights is left out; the model is saved.',
    then: () => '',
  });
  // A rate for pretrained weights says nothing of random ones.
  const { learningRate, ...budget } = request.options;
  const { signal } = interrupt;
  // As it was: what training adds to a network was made for its features.
  await using model = await loadModel(request.model, { device: request.device });
  try {
    const scratch = await trainFromScratch(model, data, {
      ...budget,
      signal,
      onBatch: batchDisplay(progress),
    });
    progress.line(`scratch ${epochLine(scratch.best)}`);
    emit(request, { ...epochEvent(scratch.best), event: 'scratch', epochs: scratch.epochs });
    return { scratch };
  } catch (error) {
    if (signal.aborted) return {};
    throw error;
  } finally {
    interrupt.stop();
    progress.finish();
  }
}

/** What strategy `lora` learned, apart from the base; undefined for others. */
async function writeAdapter(model: Model, file: string): Promise<string | undefined> {
  const { adapters } = await model.summary();
  if (adapters.length === 0) return undefined;
  await saveAdapter(model, file);
  say(`adapter ${file}`);
  return file;
}

function emit({ isJson }: TrainRequest, event: Record<string, unknown>): void {
  if (isJson) printJson(event);
}

/** The loop, told line by line. */
async function train(
  model: Model,
  data: ImageDataset,
  request: TrainRequest,
  signal: AbortSignal,
): Promise<{ result: FineTuneResult<Task>; outcomes: Outcomes | undefined }> {
  for (const line of startLines(model, data, request)) say(line);
  const { notices, device } = model;
  emit(request, { event: 'start', ...data.summary, device, notices, warnings: data.warnings });
  const progress = new Progress({ stream: progressStream });
  const scalars: Scalars | undefined = request.tensorboard ? startScalars(request, say) : undefined;
  const skipped = new Set<string>();
  const tellEpoch = (epoch: EpochReport<Task>) => {
    progress.line(epochLine(epoch));
    for (const line of skippedLines(epoch.skipped)) {
      if (!skipped.has(line)) progress.line(line);
      skipped.add(line);
    }
    scalars?.add(epoch);
  };
  let isBaselineTold = false;
  const tellBaseline = () => {
    if (isBaselineTold || !run.baseline) return;
    isBaselineTold = true;
    tellStages();
    tellEpoch(run.baseline);
    emit(request, { ...epochEvent(run.baseline), event: 'baseline' });
  };
  let stagesTold = 0;
  let decisionsTold = 0;
  const tellStages = () => {
    const { stages, computation, decisions } = run;
    for (const text of decisions.slice(decisionsTold)) {
      progress.line(visible(`note   ${text}`));
      emit(request, { event: 'decision', text });
    }
    decisionsTold = decisions.length;
    const stage = stages.at(-1);
    if (!stage || !computation || stages.length === stagesTold) return;
    stagesTold = stages.length;
    progress.line(stageLine(stage));
    for (const line of computationLines(computation)) progress.line(line);
    emit(request, { event: 'plan', stage: stage.name, ...computation });
  };
  const showBatch = batchDisplay(progress);
  const run = fineTune(model, data, {
    ...request.options,
    checkpoint: join(request.out, 'checkpoint.pt'),
    signal,
    onBatch: (batch) => {
      tellStages();
      tellBaseline();
      showBatch(batch);
    },
  });
  try {
    for await (const epoch of run) {
      tellEpoch(epoch);
      emit(request, epochEvent(epoch));
    }
    tellStages();
  } finally {
    progress.finish();
  }
  return { result: await run, outcomes: run.validationOutcomes };
}
