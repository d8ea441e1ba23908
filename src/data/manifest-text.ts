import { createReadStream } from 'node:fs';
import { invalid } from './dataset.js';

/**
 * The text of a file, part by part, without a byte order mark.
 *
 * @throws DATA_INVALID for what is not UTF-8, naming what it is
 */
export async function* textOf(file: string): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let lines = 1;
  let isFirst = true;
  const decode = (bytes?: Uint8Array) => {
    try {
      const text = decoder.decode(bytes, { stream: bytes !== undefined });
      for (const char of text) if (char === '\n') lines++;
      return text;
    } catch {
      const about = `${file} is not UTF-8 (at or after line ${lines}).`;
      throw invalid(`${about} Save it as UTF-8, for example with \`iconv -f WINDOWS-1252 -t UTF-8\`.`);
    }
  };
  for await (const chunk of createReadStream(file)) {
    if (isFirst) refuseOther(file, chunk as Buffer);
    isFirst = false;
    yield decode(chunk as Buffer);
  }
  yield decode();
}

function refuseOther(file: string, head: Buffer): void {
  const start = head.toString('latin1', 0, 64);
  if (start.startsWith('PK\x03\x04'))
    throw invalid(`${file} is a spreadsheet or an archive. Save it as CSV.`);
  if (!/^(\xff\xfe|\xfe\xff)/.test(start) && !start.includes('\0')) return;
  throw invalid(
    `${file} is UTF-16, or no text. Save it as UTF-8, for example with \`iconv -f UTF-16 -t UTF-8\`.`,
  );
}
