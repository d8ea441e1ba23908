/** Code that a bundler took away from the package's files says so, and what to do. */
import { spawnSync } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const lib = fileURLToPath(new URL('../lib', import.meta.url));

t.test('the code of the library in another package', (t) => {
  const app = t.testdir({ 'package.json': '{ "name": "app", "type": "module", "version": "9.9.9" }' });
  cpSync(lib, join(app, 'dist'), { recursive: true });
  writeFileSync(
    join(app, 'main.js'),
    `import { doctor, loadClassifier, loadModel } from './dist/index.js';
    for (const use of [() => loadModel('main.js'), () => loadClassifier('main.js'), doctor]) {
      await use().then(
        (report) => console.log('report', JSON.stringify(report.problems)),
        (error) => console.log(error.name, error.code, error.message),
      );
    }`,
  );
  const { stdout, stderr, status } = spawnSync(process.execPath, ['main.js'], { cwd: app, encoding: 'utf8' });
  t.equal(status, 0, stderr);
  const told = stdout.trim().split('\n');
  t.equal(told.length, 3, stdout);
  for (const line of told.slice(0, 2)) {
    t.match(line, /^TorchgraftError ADDON_NOT_FOUND /);
  }
  for (const line of told) {
    t.match(line, /torchgraft was bundled into file:.*dist.*\.js/);
    t.match(line, '--external:torchgraft --external:sharp');
    t.notMatch(line, 'ENOENT');
  }
  t.end();
});
