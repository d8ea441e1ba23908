/**
 * Text in which nothing is hidden: control characters, and those that turn the direction of what follows, as escapes.
 * Names of files and classes may hold any, and would move the cursor, forge a line of a log or show a name backwards.
 */
export function visible(text: string): string {
  return text.replace(hidden, escapeOf);
}

/** The same where lines are meant. */
export function visibleLines(text: string): string {
  return text.split('\n').map(visible).join('\n');
}

/** JSON on one line in which nothing is hidden either; it says the same. */
export function visibleJson(value: unknown): string {
  return visible(JSON.stringify(value));
}

/** Controls, line and paragraph separators, zero-width spaces, marks, embeddings, overrides and isolates of direction. */
const hidden = /[\p{Cc}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/gu;

function escapeOf(character: string): string {
  return `\\u${(character.codePointAt(0) as number).toString(16).padStart(4, '0')}`;
}
