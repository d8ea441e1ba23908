/** The child of damaged.test.ts: opens every file named on its command line, and prints what came of each. */
import { native, randomTensor } from './fixtures.js';

const outcomes: Record<string, string> = {};
for (const file of process.argv.slice(2)) {
  try {
    const model = await native.load(file, { device: 'cpu', threads: 1 });
    await model.describe();
    await model.forward([randomTensor([4, 3, 8, 8], 5)]);
    await model.dispose();
    outcomes[file] = 'loads';
  } catch (error) {
    outcomes[file] = (error as { code?: string }).code ?? 'no code';
  }
}
console.log(JSON.stringify(outcomes));
