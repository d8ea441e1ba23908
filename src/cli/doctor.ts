import type { Command } from 'commander';
import { doctor, renderDoctor } from '../doctor.js';
import { print, printJson } from './output.js';

/** `torchgraft doctor`. */
export function define(command: Command): Command {
  return command
    .option('--json', 'one JSON object on standard output')
    .action(async ({ json }: { json?: boolean }) => {
      const report = await doctor();
      if (json) printJson(report);
      else print(renderDoctor(report));
      if (report.problems.length > 0) process.exitCode = 1;
    });
}
