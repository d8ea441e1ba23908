import type { Command } from 'commander';
import { ensureLibtorch, type LibtorchProgress } from '../libtorch/ensure.js';
import { print, say } from './output.js';

/** `torchgraft setup`. */
export function define(command: Command): Command {
  return command.action(async () => {
    const { version, directory } = await ensureLibtorch({ onProgress: sayProgress() });
    print(`libtorch ${version} in ${directory}`);
  });
}

/** Notes as they are, and downloads and unpacking at every tenth. */
function sayProgress(): (progress: LibtorchProgress) => void {
  let said = '';
  return (progress) => {
    if (progress.step === 'note') {
      say(progress.text);
      return;
    }
    const { step, done, total } = progress;
    const text = `${step} ${total > 0 ? Math.floor((done / total) * 10) * 10 : 0} % of ${(total / 1e6).toFixed(0)} MB`;
    if (text !== said) say(text);
    said = text;
  };
}
