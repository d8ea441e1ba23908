import { existsSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeAtomically } from '../atomic-file.js';
import { cleaningUp } from '../clean-up.js';
import { invalidValue, TorchgraftError } from '../errors.js';

const entrySchema = z.object({
  trial: z.int().min(0),
  rung: z.int().min(0),
  /** Epochs trained so far. */
  epochs: z.int().min(0),
  value: z.number().nullable(),
  bestEpoch: z.int().min(0).nullable(),
  /** Validation loss at that epoch; older journals lack it. */
  loss: z.number().nullable().optional(),
  /** It has all its epochs, was stopped early, or failed. */
  isOver: z.boolean(),
  /** Seconds that the process which finished this rung spent on it. */
  seconds: z.number().min(0),
  config: z.record(z.string(), z.unknown()),
  failure: z.object({ code: z.string(), message: z.string() }).optional(),
});

/** One line of the journal: a trial brought to a rung. */
export type JournalEntry = z.output<typeof entrySchema>;

const headerSchema = z.object({ format: z.literal(1), identity: z.record(z.string(), z.unknown()) });

/**
 * The record of a search: JSON lines, a header with what decides the trials, then one line for each rung that a trial
 * has reached, on the disk before the next one begins. A line that a killed process wrote half is dropped.
 */
export class Journal {
  readonly #path: string;
  readonly entries: JournalEntry[];

  private constructor(path: string, entries: JournalEntry[]) {
    this.#path = path;
    this.entries = entries;
  }

  /**
   * Begins a journal, or goes on with one.
   *
   * @param identity what decides the trials and their results
   * @throws INVALID_VALUE when there is one and `resume` is false; CHECKPOINT_INVALID when it is damaged, or of a search
   * with another identity
   */
  static async open(path: string, identity: Record<string, unknown>, resume: boolean): Promise<Journal> {
    if (existsSync(path)) {
      if (resume) return Journal.#resume(path, JSON.parse(JSON.stringify(identity)));
      throw invalidValue(
        `search: ${path} is the journal of a search. Go on with \`resume\`, or take another folder.`,
      );
    }
    const journal = new Journal(path, []);
    await journal.#rewrite(identity);
    return journal;
  }

  static async #resume(path: string, identity: Record<string, unknown>): Promise<Journal> {
    const text = await readFile(path, 'utf8');
    const [head, ...lines] = text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .slice(0, -1);
    const header = read(headerSchema, head, `${path}, line 1`);
    const names = Object.keys({ ...header.identity, ...identity });
    const changed = names.find(
      (name) => JSON.stringify(header.identity[name]) !== JSON.stringify(identity[name]),
    );
    if (changed) {
      throw new TorchgraftError(
        'CHECKPOINT_INVALID',
        `${path} is of a search with another \`${changed}\` (${JSON.stringify(header.identity[changed])}, now ` +
          `${JSON.stringify(identity[changed])}). Resume with the same, or take another folder.`,
      );
    }
    const entries = lines.map((line, index) => read(entrySchema, line, `${path}, line ${index + 2}`));
    const journal = new Journal(path, entries);
    if (!text.endsWith('\n')) await journal.#rewrite(identity);
    return journal;
  }

  /** What is known of a trial at a rung. */
  find({ trial, rung }: { trial: number; rung: number }): JournalEntry | undefined {
    return this.entries.find((entry) => entry.trial === trial && entry.rung === rung);
  }

  /** Adds a line, and waits until it is on the disk. */
  async append(entry: JournalEntry): Promise<void> {
    const file = await open(this.#path, 'a');
    await cleaningUp(
      async () => {
        await file.write(`${JSON.stringify(entry)}\n`);
        await file.sync();
      },
      () => file.close(),
    );
    this.entries.push(entry);
  }

  async #rewrite(identity: Record<string, unknown>): Promise<void> {
    const lines = [{ format: 1, identity }, ...this.entries].map((line) => `${JSON.stringify(line)}\n`);
    await writeAtomically(this.#path, (temporary) => writeFile(temporary, lines.join('')));
  }
}

function read<T>(schema: z.ZodType<T>, line: string | undefined, where: string): T {
  try {
    return schema.parse(JSON.parse(line ?? ''));
  } catch (cause) {
    throw new TorchgraftError(
      'CHECKPOINT_INVALID',
      `${where}: not a line of a search's journal. Restore the file, or begin again in another folder.`,
      { cause },
    );
  }
}
