import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { readLoad } from './machine.js';

/**
 * Runs a program to its end.
 *
 * @returns its lines of output and when each came, seconds from start to exit, and the load average before
 * @throws with the last of its complaints when it fails
 */
export async function runProgram([program, ...args], env = process.env) {
  const load = readLoad();
  const start = performance.now();
  const since = () => (performance.now() - start) / 1000;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const lines = [];
  const lineSeconds = [];
  let complaints = '';
  createInterface({ input: child.stdout }).on('line', (line) => {
    lineSeconds.push(since());
    lines.push(line);
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    complaints = `${complaints}${text}`.slice(-2000);
  });
  let exitSeconds;
  child.on('exit', () => {
    exitSeconds = since();
  });
  const ending = await new Promise((done) => {
    child.on('error', (error) => done(error.message));
    child.on('close', (code, signal) => done(signal ?? code));
  });
  if (ending !== 0) throw new Error(`${program} ${args[0]} ended with ${ending}:\n${complaints}`);
  return { load, seconds: exitSeconds, lines, lineSeconds };
}
