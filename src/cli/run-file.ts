import { writeJson } from '../json-file.js';
import type { RunRecord } from '../run-record.js';

/** run.json: every option, the environment, all epochs, timings and peak memory. */
export async function writeRunFile(path: string, record: RunRecord): Promise<void> {
  await writeJson(path, record);
}
