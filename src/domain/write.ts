import type { Model } from '../model.js';
import { copyModel } from '../model-copy.js';
import { callNative } from '../native-call.js';
import { writeHead } from '../probe/head.js';
import { type ProbeResult, probeResult } from '../probe/result.js';
import { versions } from '../versions.js';
import { statisticsOf } from './adabn.js';
import type { JudgedMethod } from './decide.js';
import { type Adapted, probabilitiesOf } from './judge.js';
import type { Domains } from './try-methods.js';

/** What the card tells of an adaptation beside what the model came from. */
export interface AdaptationRecord {
  chosen: string;
  text: string;
  target: { source?: string; images: number };
  /** On the source's validation images, and on the target without labels. */
  figures: Pick<JudgedMethod, 'source' | 'target'>;
}

/**
 * Makes the model what was chosen: BatchNorm statistics, and the head where it is another. Tried on a copy first, so that
 * the model is as it was where the proof on target images fails.
 */
export async function writeAdapted(
  model: Model,
  adapted: Adapted,
  { source, start }: Domains,
  { figures, ...record }: AdaptationRecord,
): Promise<void> {
  if (start.isOwnHead && adapted.method === 'sourceOnly') return;
  const before = model.card?.provenance;
  const probe = await asProbe(adapted, source.classes.length);
  const statistics = adapted.copy ? await readStatistics(adapted.copy) : undefined;
  await prove(adapted.copy ?? model, adapted, probe);
  if (statistics) await callNative(() => model.native.setValues(statistics.names, statistics.values));
  await writeHead(model, adapted.target, probe);
  model.card = {
    format: 1,
    classes: [...source.classes],
    preprocessing: source.preprocessing,
    provenance: {
      source: model.origin,
      ...(before ? { before } : {}),
      data: source.data,
      adaptation: record,
      versions: versions(),
      date: new Date().toISOString(),
    },
    metrics: { ...figures },
  };
}

/** Writes the head into a copy, which fails where the real one would. */
async function prove(model: Model, { target }: Adapted, probe: ProbeResult): Promise<void> {
  await using trial = await copyModel(model);
  await writeHead(trial, target, probe);
}

async function readStatistics(copy: Model) {
  const names = await statisticsOf(copy);
  return { names, values: await callNative(() => copy.native.values(names)) };
}

/** Held-out images of the target take the place of validation images, so that the head is proven on them. */
async function asProbe({ method, map, target }: Adapted, classes: number): Promise<ProbeResult> {
  return probeResult(method, target, await probabilitiesOf(map, target.val, classes), map);
}
