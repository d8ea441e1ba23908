// Our side of `npm run bench -- start`: one image, from nothing. Arguments: model file with a card, image, threads.
import { loadClassifier } from '../../lib/index.js';

const [file, image, threads] = process.argv.slice(2);
const classifier = await loadClassifier(file, { device: 'cpu', threads: Number(threads) });
const [{ top }] = await classifier.predict([image], { top: 1 });
const { index, probability } = top[0];
console.log(JSON.stringify({ index, probability, peakRssMb: process.resourceUsage().maxRSS / 1024 }));
await classifier.dispose();
