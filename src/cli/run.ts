import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TorchgraftError } from '../errors.js';
import { type FineTuneResult, fineTune } from '../fine-tune/fine-tune.js';
import type { FineTuneOptions } from '../fine-tune/options.js';
import type { EpochReport } from '../fine-tune/report.js';
import { loadModel } from '../model.js';
import { Progress } from '../report/progress.js';
import { readData } from './arguments.js';
import { epochEvent, epochLine, startLines, summary } from './lines.js';
import { writeRunFile } from './run-file.js';

/** What `torchgraft train` was asked to do. */
export interface TrainRequest {
  model: string;
  data: string;
  out: string;
  device: string;
  precision: string;
  isJson: boolean;
  options: FineTuneOptions;
}

/** Trains, and leaves model.pt, run.json and checkpoint.pt in the run folder. Returns the exit code. */
export async function runTraining(request: TrainRequest): Promise<number> {
  const { out, isJson, options } = request;
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const emit = (event: Record<string, unknown>) => {
    if (isJson) process.stdout.write(`${JSON.stringify(event)}\n`);
  };
  const interrupt = listenForInterrupt(say, out);
  const started = performance.now();
  const data = await readData(request.data, options.seed ?? 0);
  await using model = await loadModel(request.model, {
    device: request.device,
    ...(options.threads ? { threads: options.threads } : {}),
  });
  for (const line of startLines(model, data, request)) say(line);
  await mkdir(out, { recursive: true });
  const progress = new Progress({ stream: process.stderr });
  const run = fineTune(model, data, {
    ...options,
    checkpoint: join(out, 'checkpoint.pt'),
    signal: interrupt.signal,
    onBatch: showBatches(progress, options.epochs ?? 10),
  });
  emit({
    event: 'start',
    ...data.summary,
    device: model.device,
    notices: model.notices,
    warnings: data.warnings,
  });
  const resumed: EpochReport[] = [];
  try {
    for await (const epoch of run) {
      if (resumed.length === 0) progress.line(epochLine(run.baseline as EpochReport));
      resumed.push(epoch);
      progress.line(epochLine(epoch));
      emit(epochEvent(epoch));
    }
  } finally {
    progress.finish();
    interrupt.stop();
  }
  const result = run.result as FineTuneResult;
  const file = join(out, 'model.pt');
  await model.save(file);
  const totals = {
    totalSeconds: (performance.now() - started) / 1000,
    peakRssMb: process.resourceUsage().maxRSS / 1024,
  };
  await writeRunFile(join(out, 'run.json'), request, data, model, result, totals);
  for (const line of summary(result, data.classes, file, totals)) say(line);
  emit({
    event: 'done',
    bestEpoch: result.best.epoch,
    bestValAccuracy: result.best.validation.accuracy,
    bestValMacroF1: result.best.validation.macro.f1,
    ended: result.ended,
    ...totals,
    model: file,
  });
  return 0;
}

function showBatches(progress: Progress, epochs: number): FineTuneOptions['onBatch'] {
  let shown = '';
  return ({ phase, epoch, done, total }) => {
    const label =
      phase === 'train' ? `epoch ${epoch}/${epochs}` : epoch === 0 ? 'before' : `validating ${epoch}`;
    if (label !== shown) progress.start(label, total);
    shown = label;
    progress.update(done);
  };
}

/** The first Ctrl-C stops after the batch and writes a checkpoint; the second ends the process at once. */
function listenForInterrupt(say: (text: string) => void, out: string) {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(130);
    say(`\nInterrupted: writing a checkpoint to ${out}. Go on with --resume. Ctrl-C again ends at once.`);
    controller.abort(new TorchgraftError('ABORTED', 'Interrupted.'));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    stop: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}
