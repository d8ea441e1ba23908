#!/usr/bin/env node
// prebuildify drives node-gyp only: it is handed this in its place, and its arguments do not matter here.
import { requireLibtorch } from '../lib/libtorch/find.js';
import { buildNative } from './build-native.js';

await buildNative(requireLibtorch());
