#!/usr/bin/env node
import { Command } from 'commander';
import { packageVersion } from '../package.js';
import { commands } from './commands.js';
import { exitCode, explain } from './exit.js';
import { afterInterrupt } from './interrupt.js';
import { guardOutput, hasOutputFailed, helpOutput, say } from './output.js';

/** The command line; `arguments_` without node and the script. Returns the exit code. */
export async function main(arguments_: string[]): Promise<number> {
  const asked = commandOf(arguments_);
  guardOutput(commands.find(({ name }) => name === asked)?.isOutputAll ?? true);
  const program = new Command('torchgraft')
    .description('Transfer learning for Node.js on libtorch')
    .version(packageVersion())
    .configureOutput(helpOutput)
    .showHelpAfterError('(--help shows all options)')
    .exitOverride();
  try {
    for (const { name, description, load } of commands) {
      const command = program.command(name).description(description);
      if (name === asked) (await load()).define(command);
    }
    program.showHelpAfterError('(torchgraft --help lists the commands)');
    await program.parseAsync(arguments_, { from: 'user' });
    return process.exitCode === undefined ? 0 : Number(process.exitCode);
  } catch (error) {
    // commander has said what was wrong; 0 is --help and --version.
    if (isOfCommander(error)) return error.exitCode === 0 ? 0 : 2;
    const code = exitCode(error);
    say((code === 130 ? afterInterrupt() : undefined) ?? explain(error));
    return code;
  }
}

/** The command that is named, also behind `help`. */
function commandOf(arguments_: readonly string[]): string | undefined {
  const words = arguments_.filter((word) => !word.startsWith('-'));
  return words[0] === 'help' ? words[1] : words[0];
}

function isOfCommander(error: unknown): error is { exitCode: number } {
  return (error as { code?: unknown } | undefined)?.code?.toString().startsWith('commander.') ?? false;
}

const code = await main(process.argv.slice(2));
process.exitCode = code === 0 && hasOutputFailed() ? 1 : code;
