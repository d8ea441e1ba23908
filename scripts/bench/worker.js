import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A long-lived child process that answers each line of JSON on its stdin with one on its stdout. */
export class Worker {
  #child;
  #answers;
  #exit;

  /** `config` is its last argument, as JSON. */
  constructor(command, config) {
    const [program, ...args] = command;
    this.#child = spawn(program, [...args, JSON.stringify(config)], { stdio: ['pipe', 'pipe', 'inherit'] });
    // A child that ended shows in its missing answer.
    this.#child.stdin.on('error', () => {});
    this.#exit = new Promise((done) => {
      this.#child.on('error', (error) => done(error.message));
      this.#child.on('close', (code, signal) => done(signal ?? `exit code ${code}`));
    });
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The next line, which the child writes by itself once it is ready. */
  async answer() {
    const { value, done } = await this.#answers.next();
    if (done)
      throw new Error(`${this.#child.spawnargs.slice(0, 2).join(' ')} ended early: ${await this.#exit}.`);
    return JSON.parse(value);
  }

  async ask(request) {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.answer();
  }

  /** Closes its stdin, which ends it. */
  async end() {
    this.#child.stdin.end();
    await this.#exit;
  }
}

/**
 * Starts workers one after the other, does something with them, and ends them.
 *
 * @param commands `[command, config]` by key
 * @param work gets `{ worker, about }` by key; `about` is what the worker says once it is ready
 */
export async function withWorkers(commands, work) {
  const workers = {};
  try {
    for (const [key, [command, config]] of Object.entries(commands)) {
      const worker = new Worker(command, config);
      workers[key] = { worker };
      workers[key].about = await worker.answer();
    }
    return await work(workers);
  } finally {
    for (const { worker } of Object.values(workers)) await worker.end();
  }
}
