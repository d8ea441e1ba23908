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
