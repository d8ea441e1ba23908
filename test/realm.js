/**
 * Runs the library in a realm of its own, as Jest and Vitest's vm pools do: modules in a vm context whose intrinsics
 * (Array, Error, Float32Array, Promise, ...) are its own, with Node's globals. Needs --experimental-vm-modules.
 */
import { readFileSync } from 'node:fs';
import { builtinModules, createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import vm from 'node:vm';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(join(root, 'package.json'));

/** What Node gives to a program beside the language. */
const nodeGlobals = [
  ...['process', 'Buffer', 'performance', 'structuredClone', 'queueMicrotask', 'console'],
  ...['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'setInterval', 'clearInterval'],
  ...['AbortController', 'AbortSignal', 'Event', 'EventTarget', 'URL', 'TextEncoder', 'TextDecoder'],
];

/** Evaluates a module's source in a new realm; `torchgraft` is its library. Returns the module's exports. */
export async function runInRealm(source) {
  const context = vm.createContext(Object.fromEntries(nodeGlobals.map((name) => [name, globalThis[name]])));
  const modules = new Map();

  async function link(specifier, { identifier }) {
    const url = resolve(specifier, identifier);
    if (!modules.has(url)) modules.set(url, await make(url, specifier));
    return modules.get(url);
  }

  async function make(url, specifier) {
    const isForeign = builtinModules.includes(specifier.replace(/^node:/, '')) || !isModule(url);
    return isForeign ? wrap(await import(url)) : compile(readFileSync(fileURLToPath(url), 'utf8'), url);
  }

  function wrap(exports) {
    const names = Object.keys(exports);
    const fill = function () {
      for (const name of names) this.setExport(name, exports[name]);
    };
    return new vm.SyntheticModule(names, fill, { context });
  }

  function compile(text, url) {
    return new vm.SourceTextModule(text, {
      context,
      identifier: url,
      initializeImportMeta: (meta) => {
        meta.url = url;
      },
      importModuleDynamically: async (specifier, referrer) => finish(await link(specifier, referrer)),
    });
  }

  // One after the other: imports at the same time may share modules, which are linked once.
  let linking = Promise.resolve();
  async function finish(module) {
    linking = linking.then(() => (module.status === 'unlinked' ? module.link(link) : undefined));
    await linking;
    if (module.status === 'linked') await module.evaluate();
    return module;
  }

  const main = await finish(compile(source, pathToFileURL(join(root, 'test', 'in-a-realm.js')).href));
  return main.namespace;
}

function resolve(specifier, from) {
  if (specifier === 'torchgraft') return pathToFileURL(join(root, 'lib', 'index.js')).href;
  if (specifier.startsWith('.')) return new URL(specifier, from).href;
  if (builtinModules.includes(specifier.replace(/^node:/, ''))) return specifier;
  // zod has modules of its own for import; other packages come from outside, as a runner externalises them.
  if (specifier === 'zod') return pathToFileURL(require.resolve('zod').replace(/\.cjs$/, '.js')).href;
  return pathToFileURL(require.resolve(specifier)).href;
}

function isModule(url) {
  return url.startsWith(pathToFileURL(join(root, 'lib')).href) || url.includes('/node_modules/zod/');
}
