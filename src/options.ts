import { closest, distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { invalidType, invalidValue } from './errors.js';

/** The candidate most like `name`, or undefined when none is similar enough to be what was meant. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  if (candidates.length === 0) return undefined;
  const found = closest(name, candidates);
  return distance(name, found) <= Math.max(2, Math.ceil(name.length / 3)) ? found : undefined;
}

/** What to say of a name that is not known: the nearest that is, or all. */
export function suggest(name: string, known: readonly string[]): string {
  const guess = nearest(name, known);
  return guess ? `Did you mean \`${guess}\`?` : `Known: ${known.join(', ')}.`;
}

/** A strict zod object for options within options: an unknown name is refused with the nearest of its own. */
export function innerOptions<S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys' ? suggest(String(issue.keys?.[0]), Object.keys(shape)) : undefined,
  });
}

/**
 * Checks a caller's options against a strict zod object and fills its defaults.
 *
 * @param where the verb as the caller wrote it, for example `fineTune`; it opens every message
 * @throws TypeError (`INVALID_TYPE`) for a wrong type or an unknown name, RangeError (`INVALID_VALUE`) otherwise
 */
export function checkOptions<S extends z.ZodObject>(schema: S, options: unknown, where: string): z.output<S> {
  const parsed = schema.safeParse(options ?? {});
  if (parsed.success) return parsed.data;
  // A misspelt name first: it may be why a needed option is missing.
  const { issues } = parsed.error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  if (!issue) throw invalidValue(`${where}: the options are not valid.`);
  const option = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    if (option) throw invalidType(`${where}: unknown option \`${option}.${key}\`. ${issue.message}`);
    throw invalidType(`${where}: unknown option \`${key}\`. ${suggest(key, Object.keys(schema.shape))}`);
  }
  const message = `${where}: ${option ? `\`${option}\`` : 'options'}: ${issue.message}`;
  throw issue.code === 'invalid_type' ? invalidType(message) : invalidValue(message);
}
