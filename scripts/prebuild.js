// Fills prebuilds/<platform>-<arch>/ with the stripped addon and the record of what it was made from.
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import prebuildify from 'prebuildify';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
// prebuildify strips and moves what it finds in build/Release of its folder: not the one in use.
const staging = join(root, 'build', 'prebuild');

mkdirSync(join(staging, 'build', 'Release'), { recursive: true });
await promisify(prebuildify)({
  cwd: staging,
  out: root,
  napi: true,
  strip: true,
  name: 'torchgraft',
  targets: [process.version],
  nodeGyp: join(root, 'scripts', 'prebuild-compile.js'),
});
copyFileSync(join(root, 'build', 'Release', 'torchgraft.json'), join(target, 'torchgraft.json'));
console.log(`${target} is ready.`);
if (!/^JPEG_LIBRARY:FILEPATH=.*\.a$/m.test(readFileSync(join(root, 'build', 'CMakeCache.txt'), 'utf8'))) {
  console.warn('It lacks libjpeg-turbo, or needs it at run time. Install libjpeg62-turbo-dev for a release.');
}
