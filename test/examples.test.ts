/** Every program in README.md, docs/recipes.md and examples/ compiles and runs, and the README's tables are complete. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Command } from 'commander';
import t from 'tap';
import ts from 'typescript';
import { commands as entries } from '../src/cli/commands.js';
import { predictorOptions } from '../src/predictor/options.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const run = promisify(execFile);

// Inside the clone, so that the programs find the package by its name.
const folder = t.testdir();

/** TypeScript blocks of a page, each under the title of its section. */
function blocksOf(page: string): { title: string; source: string }[] {
  const sections = read(page).split(/^## /m).slice(1);
  return sections.flatMap((section) => {
    const title = section.slice(0, section.indexOf('\n'));
    return [...section.matchAll(/^```ts\n(.*?)^```$/gms)].map((block) => ({ title, source: block[1] ?? '' }));
  });
}

/** The embedded network, and few enough of the embedded photographs to be quick. */
function copyAssets(): void {
  mkdirSync(join(folder, 'assets'));
  symlinkSync(join(root, 'assets', 'backbone.pt'), join(folder, 'assets', 'backbone.pt'));
  for (const [split, count] of Object.entries({ train: 6, val: 3 })) {
    for (const name of readdirSync(join(root, 'assets', 'defects', split))) {
      const from = join('assets', 'defects', split, name);
      mkdirSync(join(folder, from), { recursive: true });
      const files = readdirSync(join(root, from)).sort();
      for (const file of files.slice(0, count)) cpSync(join(root, from, file), join(folder, from, file));
    }
  }
}

/** Checks and compiles the programs beside their sources, as a user's strict project would. Returns what is wrong. */
function compile(names: string[]): string[] {
  const settings = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config.compilerOptions;
  const { options } = ts.convertCompilerOptionsFromJson(settings, root);
  const files = names.map((name) => join(folder, `${name}.mts`));
  const program = ts.createProgram(files, {
    ...options,
    rootDir: folder,
    outDir: folder,
    declaration: false,
  });
  const { diagnostics } = program.emit();
  return [...ts.getPreEmitDiagnostics(program), ...diagnostics].map(
    ({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
  );
}

async function runProgram(name: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [join(folder, `${name}.mjs`), ...args], { cwd: folder });
  return stdout;
}

copyAssets();
const recipes = blocksOf('docs/recipes.md');
const programs = new Map<string, string>();
const [example, serving] = blocksOf('README.md');
programs.set('readme', example?.source ?? '');
programs.set('readme-serving', serving?.source ?? '');
for (const name of ['train', 'inspect', 'serve', 'predictor', 'untrusted'])
  programs.set(name, read(`examples/${name}.ts`));
for (const [index, { source }] of recipes.entries()) programs.set(`recipe-${index}`, source);
for (const [name, source] of programs) writeFileSync(join(folder, `${name}.mts`), source);
const wrong = compile([...programs.keys()]);

t.test('all programs compile', async (t) => {
  t.same(wrong, []);
  t.equal(blocksOf('README.md').length, 2);
  t.equal(recipes.length, read('docs/recipes.md').match(/^## /gm)?.length, 'a program in every recipe');
});

t.test('the README example has at most 20 lines and predicts a class', async (t) => {
  const lines = programs.get('readme')?.trim().split('\n') ?? [];
  t.ok(lines.length > 0 && lines.length <= 20, `${lines.length} lines`);
  const output = (await runProgram('readme')).trim().split('\n');
  t.equal(output.length, 4, 'three epochs and a prediction');
  t.match(output[0], /^epoch 1: loss \d+\.\d+, accuracy (0\.\d+|1|0)$/);
  const [name, probability] = output[3]?.split(' ') ?? [];
  t.ok(readdirSync(join(folder, 'assets', 'defects', 'val')).includes(name ?? ''), `${name} is a class`);
  t.ok(Number(probability) > 1 / 6 && Number(probability) <= 1, `probability ${probability}`);
});

t.test("the README's predictor answers every image", async (t) => {
  t.match(await runProgram('readme-serving'), /^\w+ 18 19 \{.*\d\n$/s);
});

t.test('every recipe runs', async (t) => {
  for (const [index, { title }] of recipes.entries()) {
    const output = await runProgram(`recipe-${index}`);
    t.ok(output.trim().length > 0, title);
    t.notMatch(output, /NaN|undefined/, title);
    if (title.startsWith('Stop and resume')) {
      t.match(
        output,
        /left after epoch 1\nepoch 2 .*\nfinished 2\n/,
        'the second run does the second epoch alone',
      );
    }
  }
});

t.test('examples/train.ts saves a model', async (t) => {
  const output = await runProgram('train', 'assets/backbone.pt', 'assets/defects', 'out/trained.pt', '1');
  t.match(output, /^epoch 1: train loss \d/m);
  t.match(output, /^saved out\/trained\.pt$/m);
});

t.test('examples/inspect.ts shows the layers and the head', async (t) => {
  const output = await runProgram('inspect');
  t.match(output, /layer3/);
  t.match(output, /^head: fc \(linear, 128 -> 42\)$/m);
});

t.test('examples/serve.ts answers images, refuses what is none, and ends cleanly', async (t) => {
  const server = spawn(process.execPath, [join(folder, 'serve.mjs'), 'defects.pt', '0'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => server.kill('SIGKILL'));
  const url = await addressOf(server);
  const post = (body: Uint8Array | string) => fetch(url, { method: 'POST', body });

  const good = await post(readFileSync(join(folder, 'assets/defects/val/dent/dent-00.jpg')));
  t.equal(good.status, 200);
  const top = (await good.json()) as { class: string; probability: number }[];
  t.equal(top.length, 3);
  t.ok((top[0]?.probability ?? 0) >= (top[1]?.probability ?? 1), 'best first');
  t.equal((await post('no image')).status, 400);
  t.equal((await fetch(url)).status, 400, 'GET');

  const ended = once(server, 'exit');
  server.kill('SIGTERM');
  t.same(await ended, [0, null]);
});

t.test(
  'examples/untrusted.ts classifies in a child process, and opens no model that runs code',
  async (t) => {
    const image = 'assets/defects/val/dent/dent-00.jpg';
    t.match(
      await runProgram('untrusted', 'defects.pt', image),
      /^assets\/defects\/val\/dent\/dent-00\.jpg \w+ [01]\.\d{3}\n$/,
    );
    const restoring = join(root, 'test', 'fixtures', 'files', 'restoring.pt');
    t.match(
      await runProgram('untrusted', restoring, image),
      /^refused: .*runs code when it is opened: Restoring\.\n$/,
    );
    t.match(await runProgram('untrusted', image), /^refused: .*is an image, not a model/);
  },
);

t.test('examples/predictor.ts answers, counts, swaps while it serves, and ends cleanly', async (t) => {
  const server = spawn(process.execPath, [join(folder, 'predictor.mjs'), 'defects.pt', '0'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => server.kill('SIGKILL'));
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
  const url = /^listening on (\S+)$/.exec((await lines.next()).value)?.[1];
  const post = (body: Uint8Array | string) => fetch(`${url}/predict`, { method: 'POST', body });
  const image = readFileSync(join(folder, 'assets/defects/val/dent/dent-00.jpg'));

  const asked = Array.from({ length: 8 }, () => post(image));
  server.kill('SIGHUP');
  for (const answer of await Promise.all(asked)) {
    t.equal(answer.status, 200);
    t.match(await answer.json(), [{ class: String, probability: Number }, {}, {}]);
  }
  t.equal((await lines.next()).value, 'serving defects.pt as it is now');
  t.equal((await post('no image')).status, 400);
  t.equal((await post('')).status, 400);
  t.equal((await fetch(`${url}/predict`)).status, 404, 'GET');
  const stats = await (await fetch(`${url}/stats`)).json();
  t.match(stats, {
    requests: 9,
    served: 8,
    failed: 1,
    swaps: 1,
    queueLength: 0,
    model: { name: 'defects.pt' },
  });

  const ended = once(server, 'exit');
  server.kill('SIGTERM');
  t.same(await ended, [0, null]);
});

async function addressOf(server: ChildProcess): Promise<string> {
  if (!server.stdout) throw new Error('no output');
  for await (const line of createInterface({ input: server.stdout })) {
    const url = /^listening on (\S+)$/.exec(line)?.[1];
    if (url) return url;
  }
  throw new Error('the server ended before it listened');
}

t.test("the README's table has every option of fineTune", async (t) => {
  const file = ts.createSourceFile('', read('src/fine-tune/options.ts'), ts.ScriptTarget.Latest);
  const options = file.statements
    .filter((statement) => ts.isInterfaceDeclaration(statement))
    .find(({ name }) => name.text === 'FineTuneOptions')
    ?.members.map((member) => (member.name as ts.Identifier).text);
  const section = read('README.md').split('## Options of fineTune')[1]?.split('\n## ')[0] ?? '';
  const rows = [...section.matchAll(/^\| `(\w+)` \|/gm)].map((row) => row[1]);
  t.same(rows, options);
});

t.test("the README's table has every option of createPredictor, with its default", async (t) => {
  const section = read('README.md').split('## Serving')[1]?.split('\n## ')[0] ?? '';
  const rows = [...section.matchAll(/^\| `(\w+)` \| `?([^`|]+?)`? \|/gm)].map((row) => [row[1], row[2]]);
  const defaults = {
    ...predictorOptions.parse({}),
    threads: 'all processors',
    calibration: 'none',
    maxPixels: '268,402,689',
  };
  const options = Object.keys(predictorOptions.shape) as (keyof typeof defaults)[];
  t.same(
    rows,
    options.map((name) => [name, String(defaults[name])]),
  );
});

t.test('the README names every command and every option', async (t) => {
  const section = read('README.md').split('## On the command line')[1]?.split('\n## ')[0] ?? '';
  const program = new Command();
  for (const { name, load } of entries) (await load()).define(program.command(name));
  const main = join(root, 'lib', 'cli', 'main.js');
  const help = execFileSync(process.execPath, [main, '--help'], { encoding: 'utf8' });
  const commands = help.split('Commands:\n')[1] ?? '';
  const listed = [...commands.matchAll(/^ {2}([\w-]+) /gm)]
    .map((match) => match[1])
    .filter((name) => name !== 'help');
  t.same(
    program.commands.map((command) => command.name()),
    listed,
    'these are all commands',
  );
  for (const command of program.commands) {
    t.ok(section.includes(`torchgraft ${command.name()}`), command.name());
    for (const { long } of command.options) {
      t.ok(new RegExp(`${long}(?![\\w-])`).test(section), `${command.name()} ${long}`);
    }
  }
});
