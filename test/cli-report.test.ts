import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import t from 'tap';
import { fixtureModel } from './defects.js';
import { find, type HtmlElement, parseHtml, textOf } from './html.js';

const cli = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));

async function torchgraft(...args: string[]) {
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = { code: null as number | null, stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      ended[name] += text;
    });
  }
  return new Promise<typeof ended>((done) => {
    child.on('close', (code) => done({ ...ended, code }));
  });
}

const folder = t.testdir({});
const images = join(folder, 'images');
const run = join(folder, 'run');
const report = join(run, 'report.html');
const train = (out: string, ...more: string[]) =>
  torchgraft(
    ...['train', '--model', fixtureModel('residual'), '--data', images, '--out', out, '--image-size', '32'],
    // No clock shall choose the precision: the report is written again in float32.
    ...['--augment', 'none', '--cache', 'memory', '--epochs', '2', '--precision', 'float32', ...more],
  );

/** Two classes of 8 flat images each. */
async function makeImages() {
  for (const [index, name] of ['<b>dark', 'light'].entries()) {
    mkdirSync(join(images, name), { recursive: true });
    for (let i = 0; i < 8; i++) {
      const value = 40 + index * 150 + i * 5;
      const background = { r: value, g: value, b: 255 - value };
      await sharp({ create: { width: 40, height: 40, channels: 3, background } })
        .png()
        .toFile(join(images, name, `${i}.png`));
    }
  }
}

const page = () => parseHtml(readFileSync(report, 'utf8'));
const headline = (html: HtmlElement) => textOf(find(html, 'h1')[0] as HtmlElement);

t.test('train writes report.html, and report writes it again', async (t) => {
  await makeImages();
  const { code, stderr, stdout } = await train(run, '--tensorboard', '--json');
  t.equal(code, 0, stderr);
  const files = readdirSync(run).map((name) => name.replace(/\d+/, 'N'));
  const events = 'events.out.tfevents.N.torchgraft';
  t.same(files.sort(), ['checkpoint.pt', events, 'model.pt', 'report.html', 'run.json']);
  t.match(stderr, /^report .*report\.html {2}\(\d+/m, 'with its time');
  t.match(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''), { event: 'done', report });
  const first = page();
  t.match(headline(first), /^Right on \d of 4 validation images$/);
  t.match(textOf(find(first, '#confusion')[0] as HtmlElement), '<b>dark');
  t.match(textOf(find(first, '#card')[0] as HtmlElement), 'split off with seed 0');

  rmSync(report);
  const again = await torchgraft('report', run);
  t.equal(again.code, 0, again.stderr);
  t.equal(again.stdout.trim(), report);
  const second = page();
  for (const id of ['learning', 'confusion', 'classes', 'calibration', 'mistakes', 'computation', 'card']) {
    const [before, after] = [first, second].map((html) => textOf(find(html, `#${id}`)[0] as HtmlElement));
    t.equal(after, before, `the same ${id}`);
  }
});

t.test('what is gone or changed is said', async (t) => {
  const moved = join(folder, 'moved');
  renameSync(images, moved);
  const gone = await torchgraft('report', run);
  t.equal(gone.code, 0, gone.stderr);
  t.match(gone.stderr, /note .*--data says where/);
  t.match(textOf(find(page(), '#mistakes')[0] as HtmlElement), /not at hand/);

  const found = await torchgraft('report', run, '--data', moved);
  t.equal(found.stderr, '');
  t.notMatch(textOf(page()), /not at hand/);

  rmSync(join(moved, 'light', '0.png'));
  t.match((await torchgraft('report', run, '--data', moved)).stderr, /not those of the run/);
  rmSync(join(run, 'model.pt'));
  const bare = await torchgraft('report', run, '--out', join(folder, 'bare.html'));
  t.equal(bare.code, 0, bare.stderr);
  t.match(bare.stderr, /model\.pt is not there/);

  writeFileSync(join(run, 'run.json'), '{"data": {"classes": ["a"]}}');
  const damaged = await torchgraft('report', run);
  t.equal(damaged.code, 1);
  t.match(damaged.stderr, /DATA_INVALID.*run\.json/);
  const nothing = await torchgraft('report', folder);
  t.equal(nothing.code, 1);
  t.match(nothing.stderr, /FILE_NOT_FOUND.*run\.json/);
  renameSync(moved, images);
});

t.test('a report that fails costs no training, and --no-report writes none', async (t) => {
  const blocked = join(folder, 'blocked');
  mkdirSync(join(blocked, 'report.html', 'full'), { recursive: true });
  const { code, stderr } = await train(blocked);
  t.equal(code, 0, stderr);
  t.match(stderr, /^note .*report could not be written/m);
  t.ok(readdirSync(blocked).includes('model.pt'));

  const plain = join(folder, 'plain');
  t.equal((await train(plain, '--no-report')).code, 0);
  t.same(readdirSync(plain).sort(), ['checkpoint.pt', 'model.pt', 'run.json']);
});
