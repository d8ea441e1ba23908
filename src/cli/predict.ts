import { type Command, Option } from 'commander';
import { loadClassifier } from '../classifier.js';
import type { SkippedImage } from '../data/loader.js';
import type { Prediction } from '../ranking.js';
import { visible } from '../report/visible.js';
import { type TestTimeAugmentation, testTimeNames } from '../test-time.js';
import { modelFile, shareOf, wholeNumber } from './arguments.js';
import { type Failure, failureOf, imagesOf } from './image-arguments.js';
import { percent } from './lines.js';
import { print, printJson, say } from './output.js';
import { addReading, loadingOf, type ReadingFlags, skippedLines } from './reading-flags.js';

interface PredictFlags extends ReadingFlags {
  top: number;
  threshold: number;
  batchSize: number;
  tta?: TestTimeAugmentation;
}

/** Images whose answers are told before the next are read. */
const imagesAtOnce = 256;

/** `torchgraft predict`. */
export function define(command: Command): Command {
  command
    .argument('<run>', 'run folder, or model file')
    .argument('<image...>', 'image files, folders of images, and globs such as "photos/**/*.jpg"')
    .option('--top <k>', 'most likely classes to give for each image', wholeNumber(1), 5)
    .option(
      '--threshold <p>',
      'for multi-label models: give labels with at least this probability',
      shareOf,
      0.5,
    )
    .option('--batch-size <n>', 'images per batch', wholeNumber(1), 32)
    .addOption(
      new Option('--tta <views>', 'average the probabilities of several views').choices(testTimeNames),
    );
  return addReading(command).action(async (run: string, images: string[], flags: PredictFlags) => {
    process.exitCode = await predict(run, images, flags);
  });
}

/** An image that cannot be read costs no other its answer. Returns the exit code: 1 where one failed, or all were skipped. */
async function predict(run: string, images: readonly string[], flags: PredictFlags): Promise<number> {
  const { top, threshold, batchSize, tta } = flags;
  await using classifier = await loadClassifier(modelFile(run), loadingOf(flags));
  const { paths, failed } = await imagesOf(images);
  if (!flags.json) for (const failure of failed) tell(failure);
  const start = performance.now();
  const predictions: ReturnType<typeof toJson>[] = [];
  const skipped: SkippedImage[] = [];
  let count = 0;
  for (let from = 0; from < paths.length; from += imagesAtOnce) {
    const some = paths.slice(from, from + imagesAtOnce);
    const options = { top, threshold, batchSize, ...(tta ? { tta } : {}) };
    for (const [at, result] of (await classifier.predictSettled(some, options)).entries()) {
      const image = some[at] as string;
      if (result.status === 'fulfilled') {
        count++;
        if (flags.json) predictions.push(toJson(image, result.value));
        else print(visible(`${image}  ${answerOf(result.value)}`));
        continue;
      }
      const failure = failureOf(image, result.reason);
      if (flags.skipUnreadable) skipped.push({ path: image, reason: failure.reason });
      else failed.push(failure);
      if (flags.json) continue;
      if (flags.skipUnreadable) print(skippedLines([skipped.at(-1) as SkippedImage])[0] as string);
      else tell(failure);
    }
  }
  if (flags.json) {
    const seconds = (performance.now() - start) / 1000;
    const metrics = { count, seconds, imagesPerSecond: count / seconds };
    printJson({ predictions, failed, skipped, metrics });
  }
  return failed.length > 0 || count === 0 ? 1 : 0;
}

function tell({ code, reason }: Failure): void {
  say(visible(`error [${code}]: ${reason}`));
}

/** Classes or labels with their probabilities, or numbers. */
function answerOf({ top, labels, values }: Prediction): string {
  if (values) {
    const numbers = Object.entries(values).map(([name, value]) => `${name} ${Number(value.toPrecision(6))}`);
    return numbers.join(', ');
  }
  if (labels?.length === 0) return '(no label)';
  return (labels ?? top).map((one) => `${one.class} ${percent(one.probability)}`).join(', ');
}

function toJson(image: string, { logits, ...rest }: Prediction) {
  return { image, ...rest, logits: Array.from(logits) };
}
