import { z } from 'zod';
import { preprocessingSchema } from './data/preprocessing.js';
import { tasks } from './data/task.js';
import { TorchgraftError } from './errors.js';

/** Name of the extra file inside a saved model. */
export const cardFile = 'torchgraft.json';

const cardSchema = z.object({
  format: z.literal(1),
  task: z.enum(tasks).optional(),
  classes: z.array(z.string()).min(1),
  preprocessing: preprocessingSchema,
  provenance: z.record(z.string(), z.unknown()),
  metrics: z.record(z.string(), z.unknown()),
});

/**
 * What a saved model carries beside its weights, as plain JSON: the task (left out for one class an image), the names of its
 * outputs in their order (classes, labels or targets), the
 * preprocessing it was trained with, where it came from, and how well it did.
 */
export type ModelCard = z.output<typeof cardSchema>;

/** A card of unknown origin, checked. @throws ZodError */
export function parseCard(json: unknown): ModelCard {
  return cardSchema.parse(json);
}

/** The card in a file's extra files; undefined for files of others, and for checkpoints of a first fine-tuning. */
export function readCard(extra: Record<string, string>, source: string): ModelCard | undefined {
  const text = extra[cardFile];
  if (!text) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new TorchgraftError('MODEL_UNREADABLE', `${source}: its ${cardFile} is not JSON.`, { cause });
  }
  const { checkpoint, card } = (json ?? {}) as { checkpoint?: unknown; card?: unknown };
  if (checkpoint && !card) return undefined;
  const parsed = cardSchema.safeParse(checkpoint ? card : json);
  if (parsed.success) return parsed.data;
  throw new TorchgraftError(
    'MODEL_UNREADABLE',
    `${source}: its ${cardFile} is not one this version can read: ${parsed.error.issues[0]?.path.join('.')} ${parsed.error.issues[0]?.message}.`,
  );
}
