import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import sharp from 'sharp';
import t from 'tap';

const assets = new URL('../assets/', import.meta.url);
const classes = ['crack', 'dent', 'ok', 'pores', 'scratch', 'stain'];
const splits = ['train', 'val'];

function photographs(split: string, name: string): URL[] {
  const folder = new URL(`defects/${split}/${name}/`, assets);
  return readdirSync(folder)
    .sort()
    .map((file) => new URL(file, folder));
}

const everything = splits.flatMap((split) => classes.flatMap((name) => photographs(split, name)));

t.test('the backbone is a TorchScript archive of 0.3 to 1 million float32 parameters', async (t) => {
  const file = readFileSync(new URL('backbone.pt', assets));
  t.equal(file.subarray(0, 4).toString('latin1'), 'PK\u0003\u0004', 'TorchScript files are zip archives');
  t.ok(file.includes('/constants.pkl'), 'with the constants.pkl that a state_dict lacks');
  t.ok(file.length > 4 * 0.3e6 && file.length < 4.5e6, `${file.length} bytes`);
});

t.test('each split has the six classes and 40 photographs of each', async (t) => {
  for (const split of splits) {
    t.same(readdirSync(new URL(`defects/${split}/`, assets)).sort(), classes);
    for (const name of classes) t.equal(photographs(split, name).length, 40, `${split}/${name}`);
  }
});

t.test('all photographs together stay under 3 MB', async (t) => {
  const bytes = everything.reduce((sum, file) => sum + statSync(file).size, 0);
  t.ok(bytes < 3e6, `${bytes} bytes`);
});

t.test('every photograph decodes to RGB of 96 to 128 px and is not blank', async (t) => {
  const wrong: string[] = [];
  for (const file of everything) {
    const { data, info } = await sharp(readFileSync(file)).raw().toBuffer({ resolveWithObject: true });
    const fits = [info.width, info.height].every((side) => side >= 96 && side <= 128);
    const { channels } = await sharp(data, { raw: info }).stats();
    const varies = channels.some((channel) => channel.stdev > 1);
    if (!fits || info.channels !== 3 || !varies) wrong.push(file.pathname);
  }
  t.same(wrong, []);
});

t.test('no photograph occurs twice', async (t) => {
  const hashes = everything.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
  t.equal(new Set(hashes).size, everything.length);
});
