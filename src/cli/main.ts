#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { packageVersion } from '../versions.js';
import { commands } from './commands.js';
import { exitCode, explain } from './exit.js';

/** The command line; `arguments_` without node and the script. Returns the exit code. */
export async function main(arguments_: string[]): Promise<number> {
  const program = new Command('torchgraft')
    .description('Transfer learning for Node.js on libtorch')
    .version(packageVersion)
    .showHelpAfterError('(--help shows all options)')
    .exitOverride();
  for (const add of commands) {
    add(program).exitOverride().showHelpAfterError('(--help shows all options)');
  }
  try {
    await program.parseAsync(arguments_, { from: 'user' });
    return process.exitCode === undefined ? 0 : Number(process.exitCode);
  } catch (error) {
    // commander has said what was wrong; 0 is --help and --version.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`${explain(error)}\n`);
    return exitCode(error);
  }
}

process.exitCode = await main(process.argv.slice(2));
