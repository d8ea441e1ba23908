import { displayWidth } from './table.js';
import { visible, visibleLines } from './visible.js';
import { wrap } from './wrap.js';

/** Where progress is written: process.stderr, or anything like it. */
export interface ProgressStream {
  write(text: string): unknown;
  isTTY?: boolean;
  /** Width of the terminal in characters. */
  columns?: number;
}

export interface ProgressOptions {
  stream: ProgressStream;
  /** Environment, for NO_COLOR and TERM. Default process.env. */
  env?: Record<string, string | undefined>;
  /** Clock in milliseconds. Default performance.now. */
  now?: () => number;
}

const barWidth = 24;
/** Milliseconds between two writes. */
const terminalInterval = 100;
const pipeInterval = 5000;

/**
 * Shows how far work is. On a terminal one line is rewritten, with a bar, done/total, images/s and time left; in a
 * pipe there is at most one plain line every 5 seconds. Colour only on a terminal, and not with NO_COLOR
 * (https://no-color.org).
 *
 * @example
 * const progress = new Progress({ stream: process.stderr });
 * progress.start('epoch 1/10', 245);
 * progress.update(32);
 * progress.line('epoch 1/10  loss 0.41');
 */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #isTerminal: boolean;
  readonly #hasColor: boolean;
  readonly #now: () => number;
  #label = '';
  #total = 0;
  /** The first update of the phase. */
  #first: { done: number; at: number } | undefined;
  #written = 0;
  #isBarShown = false;

  constructor({ stream, env = process.env, now = () => performance.now() }: ProgressOptions) {
    this.#stream = stream;
    this.#isTerminal = stream.isTTY === true && env.TERM !== 'dumb';
    this.#hasColor = this.#isTerminal && !env.NO_COLOR;
    this.#now = now;
  }

  /** Begins a phase, for example an epoch of `total` images. */
  start(label: string, total: number): void {
    this.#label = visible(label);
    this.#total = total;
    this.#first = undefined;
    // A terminal gets the bar with the first update; a pipe hears nothing of a phase that is over soon.
    this.#written = this.#isTerminal ? Number.NEGATIVE_INFINITY : this.#now();
  }

  /**
   * Says how many images of the phase are done.
   *
   * @param seconds since the phase began; without them the rate is counted from the first update on
   */
  update(done: number, seconds?: number): void {
    const now = this.#now();
    this.#first ??= { done, at: now };
    if (now - this.#written < (this.#isTerminal ? terminalInterval : pipeInterval)) return;
    this.#written = now;
    const { done: before, at } = this.#first;
    const rate = seconds === undefined ? ((done - before) * 1000) / (now - at) : done / seconds;
    const speed =
      rate > 0 && Number.isFinite(rate)
        ? `  ${rate.toFixed(1)} images/s  ${formatTime((this.#total - done) / rate)} left`
        : '';
    const counts = `${done}/${this.#total}${speed}`;
    if (this.#isTerminal) this.#rewrite(done, counts);
    else this.#stream.write(`${this.#label}  ${counts}\n`);
  }

  /** Writes a line that stays, for example an epoch's results, in place of the bar. */
  line(text: string): void {
    this.finish();
    this.#stream.write(
      `${wrap(visibleLines(text), this.#isTerminal ? this.#stream.columns || 80 : undefined)}\n`,
    );
  }

  /** Takes the bar off the terminal. */
  finish(): void {
    if (this.#isBarShown) this.#stream.write('\r\x1b[K');
    this.#isBarShown = false;
  }

  #rewrite(done: number, counts: string): void {
    const share = this.#total > 0 ? Math.min(1, done / this.#total) : 0;
    const filled = Math.round(share * barWidth);
    const full = '█'.repeat(filled);
    const bar = `${this.#hasColor ? `\x1b[32m${full}\x1b[39m` : full}${'░'.repeat(barWidth - filled)}`;
    const plainWidth = displayWidth(`${this.#label}    ${counts}`);
    // A line that wraps could not be rewritten: a narrow terminal gets no bar, a very narrow one less text.
    const width = (this.#stream.columns || 80) - 1;
    const hasRoom = plainWidth + barWidth <= width;
    const line = hasRoom ? `${this.#label}  ${bar}  ${counts}` : `${this.#label}  ${counts}`.slice(0, width);
    this.#stream.write(`\r${line}\x1b[K`);
    this.#isBarShown = true;
  }
}

/** Seconds as `42s`, `3m05s` or `2h07m`. */
export function formatTime(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}m${String(whole % 60).padStart(2, '0')}s`;
  return `${Math.floor(minutes / 60)}h${String(minutes % 60).padStart(2, '0')}m`;
}
