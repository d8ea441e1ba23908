import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { EventFile } from '../src/index.js';
import { crc32c, maskedCrc32c } from '../src/tensorboard/crc32c.js';
import { scalarEvent, tfRecord, versionEvent } from '../src/tensorboard/event.js';
import { removeEventFiles } from '../src/tensorboard/event-file.js';

/** Of scripts/fixtures-tensorboard.py. */
const reference: { wallTime: number; steps: [number, Record<string, number>][]; file: string } = JSON.parse(
  readFileSync(new URL('fixtures/tensorboard.json', import.meta.url), 'utf8'),
);

t.test('CRC-32C of RFC 3720', async (t) => {
  t.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  t.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  t.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  t.equal(crc32c(new Uint8Array()), 0);
  t.equal(maskedCrc32c(new Uint8Array()), 0xa282ead8);
});

t.test("the bytes are those of TensorBoard's own writer", async (t) => {
  const { wallTime, steps, file } = reference;
  const written = Buffer.concat([
    tfRecord(versionEvent(wallTime)),
    ...steps.map(([step, scalars]) => tfRecord(scalarEvent(wallTime, step, scalars))),
  ]);
  t.equal(written.toString('hex'), file);
});

/** The payloads of a TFRecord file; throws where a length or a checksum does not fit. */
function readRecords(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const data = bytes.subarray(at + 12, at + 12 + length);
    if (bytes.readUInt32LE(at + 8) !== maskedCrc32c(bytes.subarray(at, at + 8))) throw new Error('length');
    if (bytes.readUInt32LE(at + 12 + length) !== maskedCrc32c(data)) throw new Error('data');
    records.push(data);
    at += 12 + length + 4;
  }
  return records;
}

t.test('an event file grows by a record a step', async (t) => {
  const folder = t.testdir({});
  const file = EventFile.create(folder);
  t.match(file.path, /events\.out\.tfevents\.\d+\.torchgraft$/);
  t.equal(readRecords(readFileSync(file.path)).length, 1);
  file.add(7, { 'loss/train': 0.5 });
  const [first, second] = readRecords(readFileSync(file.path));
  t.match(first?.toString('latin1'), 'brain.Event:2');
  const time = second?.readDoubleLE(1) ?? 0;
  t.ok(Math.abs(time - Date.now() / 1000) < 600, 'seconds since 1970');
  t.same(second, scalarEvent(time, 7, { 'loss/train': 0.5 }));
});

t.test('only our own event files are removed', async (t) => {
  const folder = t.testdir({});
  EventFile.create(folder);
  const others = ['events.out.tfevents.1.host', 'notes.torchgraft'];
  for (const name of others) writeFileSync(join(folder, name), '');
  removeEventFiles(folder);
  t.same(readdirSync(folder).sort(), others);
});
