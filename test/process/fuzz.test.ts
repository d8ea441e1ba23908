// No JavaScript input of any kind, in any order, may crash the process.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const calls = 100_000;
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));

t.test(
  `${calls} random calls at every native export end with exit code 0`,
  { timeout: 500_000 },
  async (t) => {
    const program = fileURLToPath(new URL('fuzz-child.ts', import.meta.url));
    const child = spawnSync(process.execPath, [...process.execArgv, program], {
      cwd: t.testdir({}),
      env: { ...process.env, CALLS: String(calls), SEED: String(seed) },
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    });
    t.comment(`seed ${seed}: run this file with SEED=${seed} to repeat it`);
    t.equal(child.signal, null, child.stderr.slice(-2000));
    t.equal(child.status, 0, child.stderr.slice(-2000));
    const { outcomes, live } = JSON.parse(child.stdout.trim().split('\n').at(-1) as string);
    t.comment(outcomes);
    const count = (pattern: RegExp) =>
      Object.keys(outcomes).reduce((sum, key) => sum + (pattern.test(key) ? outcomes[key] : 0), 0);
    t.equal(count(/./), calls, 'every call ended, and was counted');
    // Calls that die at the first check prove little.
    for (const method of [
      'step',
      'forward',
      'configure',
      'replaceHead',
      'evaluate',
      'gradCam',
      'setTrainable',
      'loadCheckpoint',
      'plan',
      'openFeatures',
      'findFeatures',
      'storeFeatures',
      'readFeatures',
      'setValues',
    ]) {
      t.ok(
        count(new RegExp(`^${method} ok`)) > 50,
        `${method} was done ${count(new RegExp(`^${method} ok`))} times`,
      );
    }
    t.ok(count(/^decodeJpeg ok/) > 100, 'JPEGs were decoded');
    t.ok(count(/^resizePixels ok/) > 100, 'pixels were resized');
    for (const score of ['logME', 'hScore', 'ridge'])
      t.ok(count(new RegExp(`^${score} ok`)) > 100, `${score} was computed`);
    t.ok(count(/SOURCE_INVALID/) > 100, 'loss sources were compiled');
    t.ok(count(/^load MODEL_UNREADABLE/) > 100, 'broken models were read');
    t.ok(count(/^(new|construct|subclass|call class) ok/) === 0, 'nobody but load() makes a model');
    t.same(live, { models: 0, tasks: 0 });
  },
);
