import { type Command, Option } from 'commander';
import { loadClassifier } from '../classifier.js';
import type { Prediction } from '../ranking.js';
import { type TestTimeAugmentation, testTimeNames } from '../test-time.js';
import { modelFile, shareOf, wholeNumber } from './arguments.js';
import { percent } from './lines.js';
import { print, printJson } from './output.js';

interface PredictFlags {
  top: number;
  threshold: number;
  batchSize: number;
  tta?: TestTimeAugmentation;
  threads?: number;
  device: string;
  json?: boolean;
}

/** `torchgraft predict`. */
export function define(command: Command): Command {
  return command
    .argument('<run>', 'run folder, or model file')
    .argument('<image...>', 'image files')
    .option('--top <k>', 'classes to give for each image', wholeNumber(1), 5)
    .option(
      '--threshold <p>',
      'of a multi-label model: probability from which on a label is given',
      shareOf,
      0.5,
    )
    .option('--batch-size <n>', 'images a batch', wholeNumber(1), 32)
    .addOption(
      new Option('--tta <views>', 'average the probabilities of several views').choices(testTimeNames),
    )
    .option('--threads <n>', 'default: all processors', wholeNumber(1))
    .option('--device <name>', 'auto, cpu or cuda:0', 'auto')
    .option('--json', 'one JSON object on standard output')
    .action(async (run: string, images: string[], flags: PredictFlags) => {
      const { top, threshold, batchSize, device, threads } = flags;
      await using classifier = await loadClassifier(modelFile(run), {
        device,
        ...(threads ? { threads } : {}),
      });
      const start = performance.now();
      const found = await classifier.predict(images, {
        ...{ top, threshold, batchSize },
        ...(flags.tta ? { tta: flags.tta } : {}),
      });
      const seconds = (performance.now() - start) / 1000;
      if (flags.json) {
        const predictions = found.map((prediction, i) => toJson(images[i] as string, prediction));
        const metrics = { count: images.length, seconds, imagesPerSecond: images.length / seconds };
        printJson({ predictions, metrics });
        return;
      }
      for (const [i, prediction] of found.entries()) {
        print(`${images[i]}  ${answerOf(prediction)}`);
      }
    });
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
