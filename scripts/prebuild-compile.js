#!/usr/bin/env node
// prebuildify drives node-gyp only: it is handed this in its place, and its arguments do not matter here.
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireLibtorch } from '../lib/libtorch/find.js';
import { buildNative, findCurrentAddon, output } from './build-native.js';

const libtorch = requireLibtorch();
if (findCurrentAddon(libtorch.version) !== output) await buildNative(libtorch);
copyFileSync(join(output, 'torchgraft.node'), join('build', 'Release', 'torchgraft.node'));
