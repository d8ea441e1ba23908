import { TorchgraftError } from '../errors.js';
import { say } from './output.js';

/**
 * The first Ctrl-C, or SIGTERM, aborts the signal and says so; the second ends the process at once.
 *
 * @param message what happens next, a sentence
 */
export function listenForInterrupt(message: string): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(130);
    say(`\nInterrupted: ${message} Ctrl-C again ends at once.`);
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
