import { extname } from 'node:path';
import { Readable } from 'node:stream';
import { type CsvError, parse } from 'csv-parse';
import { TorchgraftError } from '../errors.js';
import { invalid } from './dataset.js';
import { textOf } from './manifest-text.js';
import { isImageName } from './passed-over.js';

/** A line of a manifest: values by the names of its columns, which may be any text. */
export interface Row {
  line: number;
  values: ReadonlyMap<string, unknown>;
}

type Rows = AsyncGenerator<Row, void, void>;

/**
 * What reads the lines of a manifest, by its extension.
 *
 * @throws DATA_INVALID for other extensions; when reading, naming the line
 */
export function rowReader(file: string): (file: string) => Rows {
  const extension = extname(file).toLowerCase();
  if (['.csv', '.tsv', '.tab'].includes(extension)) return readCsv;
  if (['.jsonl', '.ndjson'].includes(extension)) return readJsonLines;
  throw invalid(`${file}: expected a .csv, .tsv, .jsonl or .ndjson file.`);
}

function isCsvError(error: unknown): error is CsvError {
  return (error as { code?: unknown } | undefined)?.code?.toString().startsWith('CSV_') ?? false;
}

async function* readCsv(file: string): Rows {
  const text = textOf(file);
  const head = await readHead(text);
  const { line, delimiter, before } = headerOf(head);
  if (line === '') return;
  const parser = parse({
    delimiter,
    // It would take a tab for a blank.
    trim: delimiter !== '\t',
    relax_quotes: true,
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_empty_values: true,
    info: true,
  });
  const source = Readable.from(following(head.slice(before.length), text)).on('error', (error) =>
    parser.destroy(error),
  );
  const linesBefore = before.split('\n').length - 1;
  let names: string[] | undefined;
  try {
    for await (const { info, record } of source.pipe(parser)) {
      const fields = (record as string[]).map((field) => (delimiter === '\t' ? field.trim() : field));
      const at = (info.lines as number) + linesBefore;
      if (names) yield { line: at, values: valuesOf(names, fields, `${file}, line ${at}`) };
      else names = checkHeader(fields, file, at);
    }
  } catch (cause) {
    if (!isCsvError(cause)) throw cause;
    throw new TorchgraftError('DATA_INVALID', `${file} is not valid CSV: ${cause.message}`, { cause });
  } finally {
    source.destroy();
  }
}

/** The text up to the end of the first line that is not empty. */
async function readHead(text: AsyncGenerator<string>): Promise<string> {
  let head = '';
  while (!/\S[^\r\n]*[\r\n]/.test(head.replace(/^\s*sep=.[\r\n]+/i, ''))) {
    const { value, done } = await text.next();
    if (done) break;
    head += value;
  }
  return head;
}

async function* following(head: string, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  yield head;
  yield* rest;
}

/** The first line with its delimiter. What comes `before` it, empty lines and Excel's `sep=;`, is no part of the table. */
function headerOf(head: string): { line: string; delimiter: string; before: string } {
  const before = /^(?:\s*sep=[^\r\n](?:\r\n|\r|\n))?(?:[^\S\t]*[\r\n])*/i.exec(head)?.[0] ?? '';
  const line = /^[^\r\n]*/.exec(head.slice(before.length))?.[0] ?? '';
  const given = /sep=(.)/i.exec(before)?.[1];
  return { line, delimiter: given ?? delimiterOf(line), before };
}

/** The one of the usual delimiters that is in a line most often, outside of quotes. */
function delimiterOf(line: string): string {
  const bare = line.replace(/"[^"]*"/g, '');
  const count = (delimiter: string) => bare.split(delimiter).length;
  return [',', ';', '\t', '|'].reduce((best, other) => (count(other) > count(best) ? other : best));
}

function checkHeader(names: string[], file: string, line: number): string[] {
  if (names.some((name) => isImageName(name))) {
    throw invalid(
      `${file}, line ${line}: the first line is an image already. Begin with a line that names the columns, for example path,label.`,
    );
  }
  const again = names.find((name, at) => name !== '' && names.indexOf(name) !== at);
  if (again !== undefined) throw invalid(`${file}, line ${line}: two columns are called \`${again}\`.`);
  return names;
}

/**
 * Missing fields are empty. One without a name is none, as behind a last delimiter; but the first column may be numbers of lines,
 * which pandas writes.
 */
function valuesOf(
  names: readonly string[],
  fields: readonly string[],
  where: string,
): ReadonlyMap<string, string> {
  const stray = fields.findIndex((field, at) => field !== '' && !names[at] && at > 0);
  if (stray >= 0) {
    throw invalid(
      `${where}: \`${fields[stray]}\` is in column ${stray + 1}, which the first line gives no name. A text that holds the ` +
        'delimiter goes in double quotes.',
    );
  }
  return new Map(names.flatMap((name, at) => (name === '' ? [] : [[name, fields[at] ?? ''] as const])));
}

async function* readJsonLines(file: string): Rows {
  let line = 0;
  let rest = '';
  for await (const part of textOf(file)) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() as string;
    for (const text of lines) yield* jsonRow(text, file, ++line);
  }
  yield* jsonRow(rest, file, ++line);
}

function* jsonRow(text: string, file: string, line: number): Generator<Row> {
  if (text.trim() === '') return;
  const where = `${file}, line ${line}`;
  const record = parseJson(text, where);
  if (typeof record !== 'object' || record === null || Array.isArray(record)) {
    throw invalid(`${where}: expected an object, for example {"path":"a.jpg","label":"a"}.`);
  }
  yield { line, values: new Map(Object.entries(record)) };
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const hint = /^\s*\[/.test(text)
      ? ' It looks like a list: write one object a line, without commas between them.'
      : '';
    throw new TorchgraftError('DATA_INVALID', `${where}: not valid JSON.${hint}`, { cause });
  }
}
