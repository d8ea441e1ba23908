import { z } from 'zod';
import { preprocessingSchema } from './data/preprocessing.js';
import { tasks } from './data/task.js';
import { TorchgraftError } from './errors.js';

/** Name of the extra file inside a saved model. */
export const cardFile = 'torchgraft.json';

const headsSchema = z.object({ main: z.array(z.string()).min(1), auxiliary: z.array(z.string()) });

/** Paths of the layers that classify, main ones and those that help to train. */
export type SavedHeads = z.output<typeof headsSchema>;

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

/** The extra file: the card, where there is one, and beside it the heads, where they are known. */
export function writeCard(
  card: ModelCard | undefined,
  heads: SavedHeads | undefined,
): Record<string, string> {
  if (!card && !heads) return {};
  return { [cardFile]: JSON.stringify({ ...card, ...(heads ? { heads } : {}) }) };
}

/** The heads that a file's extra files name; undefined where none do. */
export function readHeads(extra: Record<string, string>): SavedHeads | undefined {
  try {
    const json = JSON.parse(extra[cardFile] ?? '') as { card?: { heads?: unknown }; heads?: unknown };
    return headsSchema.parse(json.heads ?? json.card?.heads);
  } catch {
    return undefined;
  }
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
  const { checkpoint, card, classes, heads } = (json ?? {}) as Record<string, unknown>;
  if (checkpoint && !card) return undefined;
  // Saved with a head that was made, before any fine-tuning.
  if (heads && !classes && !card) return undefined;
  const parsed = cardSchema.safeParse(checkpoint ? card : json);
  if (parsed.success) return parsed.data;
  throw new TorchgraftError(
    'MODEL_UNREADABLE',
    `${source}: its ${cardFile} is not one this version can read: ${parsed.error.issues[0]?.path.join('.')} ${parsed.error.issues[0]?.message}.`,
  );
}
