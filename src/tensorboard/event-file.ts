import { appendFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scalarEvent, tfRecord, versionEvent } from './event.js';

/** TensorBoard finds a file by `tfevents` in its name, and sorts by the time behind it; the end says whose it is. */
const ourFiles = /^events\.out\.tfevents\.\d+\.torchgraft$/;

/**
 * An event file for TensorBoard, appended to once an epoch. Each record goes to the file at once, so that TensorBoard
 * shows it while training goes on; it passes over a record that is half written.
 */
export class EventFile {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Begins a file in a folder that exists. */
  static create(folder: string): EventFile {
    const milliseconds = Date.now();
    const path = join(folder, `events.out.tfevents.${milliseconds}.torchgraft`);
    writeFileSync(path, tfRecord(versionEvent(milliseconds / 1000)));
    return new EventFile(path);
  }

  /** Appends scalars by tag, for example `{ 'loss/train': 0.2 }`, at a step. */
  add(step: number, scalars: Record<string, number>): void {
    appendFileSync(this.path, tfRecord(scalarEvent(Date.now() / 1000, step, scalars)));
  }
}

/** Removes the event files that earlier runs of torchgraft left in a folder. */
export function removeEventFiles(folder: string): void {
  for (const name of readdirSync(folder).filter((name) => ourFiles.test(name))) rmSync(join(folder, name));
}
