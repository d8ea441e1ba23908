// Says what is being done: a line per step with its time, a bar on a terminal, a line per tenth in a pipe.

const terminal = process.stdout.isTTY === true;
const width = 30;

/** Runs one step and prints `name … result (seconds)`; `work` receives a Progress and returns the result's words. */
export async function runStep(name, work) {
  const begin = performance.now();
  const progress = new Progress(name);
  try {
    const result = await work(progress);
    progress.clear();
    console.log(`✔ ${name}: ${result} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
  } catch (error) {
    progress.clear();
    console.error(`✘ ${name}: ${error.message}`);
    process.exit(1);
  }
}

class Progress {
  #name;
  #label = '';
  #tenth = 0;

  constructor(name) {
    this.#name = name;
  }

  /** A line of its own. */
  note(text) {
    this.clear();
    console.log(`  ${this.#name}: ${text}`);
  }

  /** `done` of `total` units; `total` 0 means not known yet. */
  show(label, done, total, unit = '') {
    if (total <= 0) return;
    const share = Math.min(1, done / total);
    const percent = `${Math.floor(share * 100)} %`;
    const amount = unit ? ` ${done.toFixed(0)}/${total.toFixed(0)} ${unit}` : '';
    if (terminal) {
      const bar = '█'.repeat(Math.round(share * width)).padEnd(width, '░');
      process.stdout.write(`\r\x1b[K  ${label} ${bar} ${percent}${amount}`);
      return;
    }
    const tenth = Math.floor(share * 10);
    if (label === this.#label && tenth <= this.#tenth) return;
    this.#label = label;
    this.#tenth = tenth;
    console.log(`  ${this.#name}: ${label} ${percent}${amount}`);
  }

  /** Takes the bar off the terminal. */
  clear() {
    if (terminal) process.stdout.write('\r\x1b[K');
  }
}
