import { z } from 'zod';
import { invalidValue, TorchgraftError } from '../../errors.js';
import type { Model } from '../../model.js';
import type { ModelDescription } from '../../native.js';
import { ownerOf } from '../../patterns.js';

/** What may learn at one time: a part of the model by name. The head is in each. */
export type Part = 'head' | 'norm' | 'bias' | `last:${number}` | 'full';

/** A part's name. */
export const partPattern = z
  .string()
  .regex(
    /^(head|full|norm|bias|last:[1-9]\d*)$/,
    'expected head, last:K (for example last:2), full, norm or bias',
  );

/**
 * Names of the parameters of a part.
 *
 * @param head names of the head's parameters
 * @throws NOT_TRAINABLE when `freeze` leaves none, INVALID_VALUE when the model has no such part
 */
export function chooseTrainable(
  model: Model,
  summary: ModelDescription,
  head: readonly string[],
  part: Part,
  freeze: string[],
): string[] {
  return leaveOut(model, [...partOf(model, summary, part), ...head], freeze);
}

/** Names without those that `freeze` names. @throws NOT_TRAINABLE when none is left */
export function leaveOut(model: Model, chosen: readonly string[], freeze: string[]): string[] {
  const frozen = new Set(freeze.length > 0 ? model.select(freeze) : []);
  const names = [...new Set(chosen)].filter((name) => !frozen.has(name));
  if (names.length > 0) return names;
  throw new TorchgraftError(
    'NOT_TRAINABLE',
    'fineTune: with this strategy and `freeze`, nothing is left to learn. Leave `freeze` out or name less.',
  );
}

/** Of all but the layers that forward never uses, which have nothing to learn from. */
export function usedParameters({ parameters, unusedLayers }: ModelDescription): string[] {
  const unused = new Set(unusedLayers);
  // A tied one is used where any of its layers is.
  const isUsed = (name: string) => !unused.has(ownerOf(name));
  return parameters
    .filter(({ name, otherNames }) => [name, ...otherNames].some(isUsed))
    .map(({ name }) => name);
}

function partOf(model: Model, summary: ModelDescription, part: Part): string[] {
  switch (part) {
    case 'head':
      return [];
    case 'full':
      return usedParameters(summary);
    case 'norm':
      return found(part, normParameters(summary), 'normalisation layers');
    case 'bias':
      return found(part, biases(summary), 'biases');
    default:
      return model.select({ last: Number(part.slice('last:'.length)) });
  }
}

function normParameters(summary: ModelDescription): string[] {
  const norms = new Set(summary.modules.filter(({ type }) => type.includes('Norm')).map(({ path }) => path));
  return usedParameters(summary).filter((name) => norms.has(ownerOf(name)));
}

/** `bias`, and `in_proj_bias` of attention. */
function biases(summary: ModelDescription): string[] {
  return usedParameters(summary).filter((name) => /(?:^|[._])bias$/.test(name));
}

function found(part: Part, names: string[], what: string): string[] {
  if (names.length > 0) return names;
  throw invalidValue(
    `fineTune: strategy \`${part}\`: the model has no ${what}. Use \`head\`, \`last:K\` or \`full\`.`,
  );
}
