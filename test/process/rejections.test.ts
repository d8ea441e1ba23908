// An error reaches the one who waits for it, once: nothing is left to Node, which would end the process.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

t.test('a plan that fails while images are decoded is an error of the loop', (t) => {
  const program = fileURLToPath(new URL('failing-plan.ts', import.meta.url));
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...process.execArgv, '--unhandled-rejections=strict', program],
    { encoding: 'utf8', timeout: 120_000 },
  );
  t.equal(stdout, 'the plan failed\nthe plan failed\n', stderr);
  t.equal(status, 0, stderr);
  t.end();
});

const sources = {
  'for-await': 'for await (const x of xs) return work(x);',
  'in-try': 'try { return work(1); } catch { return 2; }',
  'before-finally': 'try { return 1; } catch { return work(2); } finally { console.log(3); }',
  'behind-using': 'await using x = thing; return work(1);',
  awaited: 'for await (const x of xs) return await work(x);',
  'of-another':
    'for await (const x of xs) { const inner = () => { return work(x); }; await inner(); } return 1;',
  'in-catch': 'try { await work(1); } catch { return work(2); } return work(3);',
  'no-promise': 'try { return Math.sqrt(4); } catch { return 2; }',
};

t.test('a promise that is returned before something has ended is found', (t) => {
  const folder = t.testdir();
  mkdirSync(join(folder, 'src'));
  for (const [name, body] of Object.entries(sources)) {
    const declarations =
      'declare const xs: AsyncIterable<number>; declare function work(x: number): Promise<number>; ' +
      'declare const thing: AsyncDisposable;';
    writeFileSync(
      join(folder, 'src', `${name}.ts`),
      `export {}; ${declarations}\nexport async function run(): Promise<number> { ${body} return 0; }\n`,
    );
  }
  const config = join(folder, 'tsconfig.json');
  const compilerOptions = { target: 'ES2022', lib: ['ES2023', 'ESNext.Disposable'], types: [], strict: true };
  writeFileSync(config, JSON.stringify({ compilerOptions, include: ['src'] }));
  const script = fileURLToPath(new URL('../../scripts/check-awaits.js', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [script, config], { encoding: 'utf8' });
  const found = [...stderr.matchAll(/([\w-]+)\.ts:2: return work/g)].map(([, name]) => name);
  t.same(found.sort(), ['before-finally', 'behind-using', 'for-await', 'in-try'], stderr);
  t.equal(status, 1);
  t.end();
});
