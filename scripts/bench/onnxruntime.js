// onnxruntime-node, in the bench's own part of the user cache, and the models it runs.
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PeerMissing } from './peer-missing.js';
import { benchFolder, digestOf, modelFile, peersFolder, programFile } from './places.js';
import { findPython } from './python.js';

const version = '1.30.0';

/** URL of the package's entry, to import. @throws PeerMissing when it could not be installed or does not load */
export function findOnnxRuntime() {
  const folder = benchFolder(`onnxruntime-node-${version}`);
  const entry = join(folder, 'node_modules', 'onnxruntime-node', 'dist', 'index.js');
  if (!existsSync(entry)) install(folder);
  const loads = spawnSync(process.execPath, ['-e', `require(${JSON.stringify(entry)})`], {
    encoding: 'utf8',
  });
  if (loads.status === 0) return pathToFileURL(entry).href;
  throw new PeerMissing(
    `onnxruntime-node ${version} in ${folder} does not load:\n${loads.stderr.slice(-500)}`,
  );
}

// The CPU's library is in the package; its install script would only fetch CUDA's.
function install(folder) {
  console.error(`Installing onnxruntime-node ${version} in ${folder} ...`);
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const [program, ...args] = [
    ...npm,
    ...['install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund'],
    `onnxruntime-node@${version}`,
  ];
  const { status } = spawnSync(program, args, { cwd: folder, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new PeerMissing(`npm could not install onnxruntime-node ${version} in ${folder}.`);
}

/** The model as ONNX with a batch of any size, exported from the peer's eager definition; made once. */
export function exportOnnx(model) {
  const source = modelFile(model);
  const file = join(benchFolder('onnx'), `${digestOf(source)}.onnx`);
  if (existsSync(file)) return file;
  const temporary = `${file}.${process.pid}`;
  const command = [programFile('export_onnx.py'), peersFolder(), source, temporary];
  const { status, stderr } = spawnSync(findPython(), command, { encoding: 'utf8' });
  if (status !== 0) throw new PeerMissing(`Exporting ${source} to ONNX failed:\n${stderr.slice(-1000)}`);
  renameSync(temporary, file);
  return file;
}
