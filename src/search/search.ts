import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelCard } from '../card.js';
import type { ImageDataset } from '../data/dataset.js';
import { EarlyStopping } from '../early-stopping.js';
import { type ErrorCode, invalidType, TorchgraftError, throwIfAborted } from '../errors.js';
import { recipeOf } from '../fine-tune/checkpoint.js';
import { dataFingerprint } from '../fine-tune/group-training.js';
import { knownMetrics } from '../fine-tune/report.js';
import { type LoadOptions, loadModel, type Model } from '../model.js';
import { requireWritableFolder } from '../writable.js';
import { compareResults, Halving } from './halving.js';
import { Journal, type JournalEntry } from './journal.js';
import { type CheckedSearch, checkSearchOptions, type SearchOptions } from './options.js';
import { drawTrial, type SearchDimension } from './space.js';
import { checkpointPath, runTrial, type SearchTrial, type TrialSettings } from './trials.js';

/** What a search came to; plain JSON. */
export interface SearchResult {
  /** The trial whose weights model.pt has. */
  best: SearchTrial;
  /** All trials, best first; those that failed last. */
  trials: SearchTrial[];
  /** What they were compared by, and whether smaller or larger is better. */
  metric: string;
  mode: 'min' | 'max';
  /** What was searched. */
  dimensions: SearchDimension[];
  /** Epochs of each rung. */
  rungs: number[];
  /** Why it ended: all trials are done, or the minutes are spent. */
  ended: 'trials' | 'minutes';
  /** Seconds of training and validation, of all trials. */
  seconds: number;
  /** Path of the best trial's model. */
  model: string;
}

/**
 * Searches the options of fineTune: random search, or asynchronous successive halving (ASHA, Li et al. 2020), one trial
 * after the other in this process. Trials share kept features. The best trial's model is kept as `model.pt` in the
 * folder, where it can be served or evaluated like any other.
 *
 * Trial n's configuration is a function of (`seed`, n), each training is deterministic and has a checkpoint, and each
 * result is in the journal, `search.jsonl`, before the next training begins: a search that was killed at any moment goes
 * on with `resume`, and comes to the same trials and the same winner as one that was not, on the same machine with the
 * same versions. (With `minutes` the clock decides how many trials there are; where the device has bfloat16, fix
 * `fineTune.precision`, which is else chosen by the clock too.) Checkpoints of trials that may go on are in `trials` in
 * the folder until the search has ended.
 *
 * A trial that fails by its configuration, for example because its loss is not finite, counts as worst and ends alone.
 *
 * @param modelFile path of a TorchScript model; loaded anew for each trial
 * @example
 * const { best, model } = await search('backbone.pt', await imageFolder('defects'), {
 *   folder: 'runs/search',
 *   space: { learningRate: { low: 1e-4, high: 1e-1, log: true }, strategy: ['head', 'full'] },
 *   trials: 30,
 * });
 * console.log(best.config, best.value, model);
 *
 * @throws INVALID_TYPE, INVALID_VALUE (options, or a folder with a search in it), FILE_UNWRITABLE, CHECKPOINT_INVALID (resumed with other
 * options, or a damaged journal), ABORTED; the first trial's error where all failed; and what loadModel and fineTune throw
 * for any configuration, as IMAGE_UNREADABLE
 */
export async function search(
  modelFile: string,
  data: ImageDataset,
  options: SearchOptions,
): Promise<SearchResult> {
  if (typeof modelFile !== 'string') throw invalidType('search: expected the path of a TorchScript file.');
  if (!data?.splits?.train) throw invalidType('search: expected data from imageFolder or imageManifest.');
  const checked = checkSearchOptions(options, data.task);
  const { device, threads } = checked;
  const loading = { ...(device ? { device } : {}), ...(threads ? { threads } : {}) };
  const known = knownMetrics(data, checked.shared.groups);
  const judge = new EarlyStopping(checked.shared.earlyStopping, known);
  const journal = await openJournal(modelFile, data, checked, loading);
  return new Search(modelFile, data, { checked, journal, judge, loading }).run();
}

async function openJournal(
  modelFile: string,
  data: ImageDataset,
  checked: CheckedSearch,
  loading: LoadOptions,
): Promise<Journal> {
  const { method, seed, reduction, minEpochs, dimensions, rungs, shared, folder, resume } = checked;
  await requireWritableFolder(folder);
  // A model that cannot be loaded is no trial's fault.
  await using model = await loadModel(modelFile, loading);
  const identity = {
    ...{ model: model.origin.sha256, method, seed, reduction, minEpochs, rungs, space: dimensions },
    fineTune: recipeOf(shared, dataFingerprint(shared.groups, data)),
  };
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'search.jsonl');
  const isNew = !existsSync(path);
  const journal = await Journal.open(path, identity, resume);
  // Checkpoints of an older search, whose journal is gone.
  if (isNew) await rm(join(folder, 'trials'), { recursive: true, force: true });
  await mkdir(join(folder, 'trials'), { recursive: true });
  return journal;
}

/** One search under way. */
class Search {
  readonly #checked: CheckedSearch;
  readonly #journal: Journal;
  readonly #settings: TrialSettings;
  readonly #mode: 'min' | 'max';
  readonly #halving: Halving;
  readonly #model: string;
  /** Results that count, in the order of the search. */
  readonly #entries: JournalEntry[] = [];

  constructor(
    modelFile: string,
    data: ImageDataset,
    about: { checked: CheckedSearch; journal: Journal; judge: EarlyStopping; loading: LoadOptions },
  ) {
    const { checked, journal, judge, loading } = about;
    const { folder, signal, onBatch, rungs, reduction } = checked;
    this.#checked = checked;
    this.#journal = journal;
    this.#mode = judge.mode;
    this.#halving = new Halving(rungs.length, reduction, judge.mode);
    this.#model = join(folder, 'model.pt');
    const shared = checked.fineTune;
    this.#settings = {
      ...{ modelFile, data, shared, loading, folder, signal, onBatch },
      metric: judge.metric,
    };
  }

  async run(): Promise<SearchResult> {
    const ended = await this.#runTrials();
    const best = this.#best();
    if (!best) throw this.#allFailed();
    await this.#ensureModel(best);
    await rm(join(this.#checked.folder, 'trials'), { recursive: true, force: true });
    const trials = this.#trials();
    const { rungs, dimensions } = this.#checked;
    return {
      best: trials[0] as SearchTrial,
      ...{ trials, rungs, dimensions, ended },
      ...{ metric: this.#settings.metric, mode: this.#mode, model: this.#model },
      seconds: trials.reduce((sum, { seconds }) => sum + seconds, 0),
    };
  }

  async #runTrials(): Promise<SearchResult['ended']> {
    const { trials, minutes = Number.POSITIVE_INFINITY, signal, onTrial } = this.#checked;
    for (;;) {
      throwIfAborted(signal);
      const job = this.#halving.next(trials);
      if (!job) return 'trials';
      let entry = this.#journal.find(job);
      if (!entry) {
        const spent = this.#journal.entries.reduce((sum, { seconds }) => sum + seconds, 0);
        if (spent >= minutes * 60) return 'minutes';
        entry = await this.#bring(job);
        await this.#journal.append(entry);
      }
      this.#entries.push(entry);
      this.#halving.record(entry);
      await this.#clear();
      await onTrial?.(this.#trialOf(entry.trial));
    }
  }

  /** Brings a trial to a rung; one that has ended already is there. */
  async #bring(job: { trial: number; rung: number }): Promise<JournalEntry> {
    const before = this.#journal.find({ ...job, rung: job.rung - 1 });
    if (before?.isOver) return { ...before, rung: job.rung, seconds: 0 };
    return this.#train(job, async (entry, model) => {
      const best = this.#best();
      // Before the journal says so: a search that is killed in between does this rung again, and saves again.
      if (entry.value !== null && (!best || this.#compare(entry, best) < 0)) await this.#save(entry, model);
    });
  }

  #train(
    job: { trial: number; rung: number },
    keep: (entry: JournalEntry, model: Model) => Promise<void>,
  ): Promise<JournalEntry> {
    const { dimensions, seed, rungs } = this.#checked;
    const config = drawTrial(dimensions, seed, job.trial);
    return runTrial(this.#settings, { ...job, until: rungs[job.rung] as number, config }, keep);
  }

  /** Writes model.pt; its card says which trial it is of. */
  async #save({ trial, rung, config }: JournalEntry, model: Model): Promise<void> {
    const card = model.card as ModelCard;
    const provenance = { ...card.provenance, search: { trial, rung, config } };
    await model.save(this.#model, { ...card, provenance });
  }

  /** model.pt is the best trial's already, unless somebody removed it, or this search counts fewer trials than one before. */
  async #ensureModel(best: JournalEntry): Promise<void> {
    if (await this.#isSaved(best)) return;
    await this.#train(best, (entry, model) => this.#save(entry, model));
  }

  async #isSaved({ trial, rung }: JournalEntry): Promise<boolean> {
    if (!existsSync(this.#model)) return false;
    await using model = await loadModel(this.#model, this.#settings.loading);
    const saved = model.card?.provenance.search as { trial?: number; rung?: number } | undefined;
    return saved?.trial === trial && saved.rung === rung;
  }

  /** Checkpoints of trials that cannot go on. */
  async #clear(): Promise<void> {
    for (const entry of lastEntries(this.#entries)) {
      if (!entry.isOver && this.#halving.mayGoOn(entry, this.#checked.trials)) continue;
      await rm(checkpointPath(this.#settings, entry.trial), { force: true });
    }
  }

  #best(): JournalEntry | undefined {
    return bestOf(this.#entries, this.#compare);
  }

  readonly #compare = (a: JournalEntry, b: JournalEntry) =>
    compareResults(a, b, this.#mode) || a.rung - b.rung;

  #trials(): SearchTrial[] {
    const numbers = [...new Set(this.#entries.map(({ trial }) => trial))];
    return numbers.map((trial) => this.#trialOf(trial)).sort((a, b) => compareResults(a, b, this.#mode));
  }

  /** A trial by its rungs: the best of what was reached, and the last of what was tried. */
  #trialOf(trial: number): SearchTrial {
    const entries = this.#entries.filter((entry) => entry.trial === trial);
    const last = entries.at(-1) as JournalEntry;
    const { value, bestEpoch, loss = null } = bestOf(entries, this.#compare) ?? last;
    return {
      ...{ trial, value, bestEpoch, loss },
      config: last.config,
      rung: last.rung,
      epochs: Math.max(...entries.map(({ epochs }) => epochs)),
      seconds: entries.reduce((sum, { seconds }) => sum + seconds, 0),
      ...(last.failure ? { failure: last.failure } : {}),
    };
  }

  #allFailed(): Error {
    const failure = this.#entries.find((entry) => entry.failure)?.failure;
    const { metric } = this.#settings;
    if (!failure) {
      return new TorchgraftError(
        'LOSS_NOT_FINITE',
        `search: no trial has a finite \`${metric}\`. Compare by another metric.`,
      );
    }
    const message = `search: all ${this.#trials().length} trials failed; the first one: ${failure.message}`;
    return new TorchgraftError(failure.code as ErrorCode, message);
  }
}

/** The best of some results that have a value. */
function bestOf(
  entries: readonly JournalEntry[],
  compare: (a: JournalEntry, b: JournalEntry) => number,
): JournalEntry | undefined {
  return entries.filter(({ value }) => value !== null).sort(compare)[0];
}

/** Each trial's last result. */
function lastEntries(entries: readonly JournalEntry[]): JournalEntry[] {
  return [...new Map(entries.map((entry) => [entry.trial, entry])).values()];
}
