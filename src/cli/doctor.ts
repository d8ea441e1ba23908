import type { Command } from 'commander';
import { doctor, renderDoctor } from '../doctor.js';
import { ensureLibtorch, type LibtorchProgress } from '../libtorch/ensure.js';

/** `torchgraft doctor`. */
export function addDoctor(program: Command): Command {
  return program
    .command('doctor')
    .description('What is installed, what this machine can do, and what to do about what is wrong')
    .option('--json', 'one JSON object on standard output')
    .action(async ({ json }: { json?: boolean }) => {
      const report = await doctor();
      process.stdout.write(`${json ? JSON.stringify(report) : renderDoctor(report)}\n`);
      if (report.problems.length > 0) process.exitCode = 1;
    });
}

/** `torchgraft setup`. */
export function addSetup(program: Command): Command {
  return program
    .command('setup')
    .description('Find libtorch, or fetch it into the user cache')
    .action(async () => {
      const { version, directory } = await ensureLibtorch({ onProgress: sayProgress() });
      process.stdout.write(`libtorch ${version} in ${directory}\n`);
    });
}

/** Notes as they are, and downloads and unpacking at every tenth. */
function sayProgress(): (progress: LibtorchProgress) => void {
  let said = '';
  return (progress) => {
    if (progress.step === 'note') {
      process.stderr.write(`${progress.text}\n`);
      return;
    }
    const { step, done, total } = progress;
    const text = `${step} ${total > 0 ? Math.floor((done / total) * 10) * 10 : 0} % of ${(total / 1e6).toFixed(0)} MB`;
    if (text !== said) process.stderr.write(`${text}\n`);
    said = text;
  };
}
