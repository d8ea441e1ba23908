import { createHash } from 'node:crypto';

/** JSON of an object on one line, with a checksum as its last property, `check`. */
export function toCheckedJson(content: object): string {
  const text = JSON.stringify(content);
  return JSON.stringify({ ...JSON.parse(text), check: checkOf(text) });
}

/**
 * The object, without its checksum; as it is where it has none.
 *
 * @throws SyntaxError for what is no JSON; Error where the checksum is that of something else
 */
export function fromCheckedJson(line: string): { content: unknown; isChecked: boolean } {
  const json: unknown = JSON.parse(line);
  if (typeof json !== 'object' || json === null || !Object.hasOwn(json, 'check')) {
    return { content: json, isChecked: false };
  }
  const { check, ...content } = json as Record<string, unknown>;
  if (check !== checkOf(JSON.stringify(content))) throw new Error('Its checksum does not fit.');
  return { content, isChecked: true };
}

/** Short: it is against damage, and nobody is to be kept from writing another. */
function checkOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
