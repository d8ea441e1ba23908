import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { writeAtomically } from './atomic-file.js';
import { visible } from './report/visible.js';

/** Characters written at a time. */
const pieceLength = 65_536;

/**
 * Writes a value as JSON, atomically and piece by piece, so that no text is too long to be made. Indented by two spaces, as
 * JSON.stringify does, but for lists of numbers, which take a line.
 */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeAtomically(path, (temporary) =>
    pipeline(Readable.from(joined(jsonPieces(value))), createWriteStream(temporary)),
  );
}

/** The text in pieces of some size. */
function* joined(pieces: Iterable<string>): Generator<string> {
  let text = '';
  for (const piece of pieces) {
    text += piece;
    if (text.length < pieceLength) continue;
    yield text;
    text = '';
  }
  yield `${text}\n`;
}

/** The text of a value that JSON can hold; what it cannot is treated as JSON.stringify does. */
export function* jsonPieces(given: unknown, indent = ''): Generator<string> {
  const value = plain(given);
  if (typeof value !== 'object' || value === null) {
    yield textOf(value) ?? 'null';
    return;
  }
  const inner = `${indent}  `;
  const isList = Array.isArray(value);
  if (isList && value.every((item) => typeof item === 'number')) {
    yield JSON.stringify(value).replaceAll(',', ', ');
    return;
  }
  const entries = isList ? value.map((item) => ['', item] as const) : entriesOf(value);
  const [open, close] = isList ? ['[', ']'] : ['{', '}'];
  yield open;
  for (const [at, [name, item]] of entries.entries()) {
    yield `${at > 0 ? ',' : ''}\n${inner}${isList ? '' : `${textOf(name)}: `}`;
    yield* jsonPieces(item, inner);
  }
  yield entries.length > 0 ? `\n${indent}${close}` : close;
}

/** Strings in which nothing is hidden: logs are looked at, too. */
function textOf(value: unknown): string | undefined {
  const text = JSON.stringify(value);
  return typeof value === 'string' ? visible(text) : text;
}

function plain(value: unknown): unknown {
  const { toJSON } = Object(value) as { toJSON?: unknown };
  return typeof toJSON === 'function' ? (toJSON.call(value) as unknown) : value;
}

function entriesOf(value: object): (readonly [string, unknown])[] {
  return Object.entries(value).filter(
    ([, item]) => item !== undefined && typeof item !== 'function' && typeof item !== 'symbol',
  );
}
