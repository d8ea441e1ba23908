import { writeFile } from 'node:fs/promises';
import { writeAtomically } from '../atomic-file.js';
import type { RunRecord } from '../run-record.js';

/** run.json: every option, the environment, all epochs, timings and peak memory. */
export async function writeRunFile(path: string, record: RunRecord): Promise<void> {
  await writeAtomically(path, (temporary) => writeFile(temporary, `${JSON.stringify(record, null, 2)}\n`));
}
