import { z } from 'zod';
import type { CheckpointState } from './checkpoint.js';

const count = z.int().min(0);

/** What is looked at of a report; figures are whatever the task has. */
const report = z.looseObject({
  epoch: count,
  learningRate: z.number(),
  seconds: z.number(),
  metrics: z.record(z.string(), z.number().nullable()),
  validation: z.looseObject({ count }),
  skipped: z.array(z.looseObject({ path: z.string() })),
});

const predictions = z
  .object({ labels: z.array(count), predicted: z.array(count), losses: z.array(z.number()) })
  .refine(
    ({ labels, predicted, losses }) => labels.length === predicted.length && labels.length === losses.length,
  );

const precision = z.enum(['float32', 'bfloat16', 'float16']);

const state = z
  .looseObject({
    epoch: count,
    sums: z.looseObject({
      ...{ batches: count, loss: z.number(), correct: z.number(), count: z.number() },
      ...{ seconds: z.number(), waitedSeconds: z.number() },
    }),
    stages: z.array(
      z.looseObject({ name: z.string(), firstEpoch: count, epochs: count, optimizer: z.string(), precision }),
    ),
    evidence: z.looseObject({ before: predictions.nullable(), best: predictions.nullable() }).optional(),
    baseline: report,
    history: z.array(report),
    stopping: z.looseObject({
      metric: z.string(),
      best: z.looseObject({ epoch: count, value: z.number() }).nullable(),
      reference: z.number().nullable(),
      waited: count,
    }),
    plan: z.looseObject({ variant: z.string(), precision, split: z.boolean() }),
    recipe: z.record(z.string(), z.unknown()),
  })
  .refine(({ epoch, history }) => history.length === epoch, {
    path: ['history'],
    message: 'has other epochs',
  })
  .refine(({ stopping, epoch }) => (stopping.best?.epoch ?? 0) <= epoch, {
    path: ['stopping', 'best'],
    message: 'is none of the epochs',
  });

/** A checkpoint's JSON, checked as far as a resumed run relies on it. @throws ZodError */
export function parseState(json: unknown): CheckpointState {
  return state.parse(json) as unknown as CheckpointState;
}
