import { TorchgraftError } from '../errors.js';
import { say } from './output.js';

/** What a command does when it is interrupted, in sentences. */
export interface InterruptWords {
  /** Until it ends: `Finishing this batch, then saving a checkpoint in runs/x.` */
  now: string;
  /** When it has ended: `To go on, run the same command with --resume.` */
  then: () => string;
}

let interrupted: InterruptWords | undefined;

/** The first Ctrl-C, or SIGTERM, aborts the signal and says so; the second ends the process at once. */
export function listenForInterrupt(words: InterruptWords): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(130);
    interrupted = words;
    say(`\n${words.now} Press Ctrl-C again to stop at once.`);
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

/** What is said at the end of a command that was interrupted; undefined where none was. */
export function afterInterrupt(): string | undefined {
  return interrupted && `Stopped. ${interrupted.then()}`;
}
