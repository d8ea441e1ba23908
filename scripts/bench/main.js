// Our train step and whole runs beside PyTorch's: same model, data, batch, precision and threads, in turns.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { formatTable } from '../../lib/report/table.js';
import { packageVersion } from '../../lib/versions.js';
import { describeMachine } from './machine.js';
import { benchRuns, describeRuns } from './runs.js';
import { benchStep, describeStep } from './step.js';

const usage = `npm run bench -- [step] [head] [full] [options]        (default: all three; medians, least to greatest)

  step     one train step, full fine-tuning, no data loading
  head     whole runs, only the new head learns
  full     whole runs, everything learns

  --model <name or file.pt>   default mobilenet_v2_100
  --batch <n>                 images a batch; default 32
  --threads <n>               of torch, on both sides; default 2
  --rounds <n>                turns of each side; default 10 for step, 3 for head and full
  --out <file>                also write every figure there, as JSON
  --steps <n>                 step: steps a turn; default 3
  --warmup <n>                step: steps before the first turn; default 3
  --channels-last             step: the peer in channels-last memory layout instead of its default
  --images <folder>           head, full: class folders of the shared data; default hymenoptera
  --epochs <n>                head, full: default 2
  --workers <n>               head, full: the peer's loader processes; default 0, as the peer's
  --tuned                     head, full: the peer in channels-last and bfloat16 (not equal precision)

PYTHON names a Python with torch and torchvision; TORCHGRAFT_PEERS and TORCHGRAFT_SHARED_DATA the shared folders.`;

const benches = ['step', 'head', 'full'];
const counts = { batch: 32, threads: 2, rounds: undefined, steps: 3, warmup: 3, epochs: 2, workers: 0 };

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1;
}

async function main() {
  const { chosen, options, out } = readArguments();
  if (!chosen) return console.log(usage);
  const machine = describeMachine();
  console.log(
    `${machine.cpu}, ${machine.processors} processors, ${machine.kernels} kernels, ${machine.memoryGb} GB, ` +
      `${machine.system}, Node ${machine.node}`,
  );
  const results = [];
  for (const bench of chosen) {
    const result = bench === 'step' ? await benchStep(options) : await benchRuns(bench, options);
    results.push(result);
    print(
      bench === 'step' ? describeStep(result) : describeRuns(result, packageVersion),
      result.load,
      machine,
    );
    // After each, so that an interrupted bench keeps what it has.
    if (out)
      writeFileSync(
        out,
        `${JSON.stringify({ date: new Date().toISOString(), machine, results }, null, 1)}\n`,
      );
  }
}

function readArguments() {
  const text = (value) => ({ type: 'string', default: value });
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...Object.fromEntries(Object.keys(counts).map((name) => [name, { type: 'string' }])),
      model: text('mobilenet_v2_100'),
      images: text('hymenoptera'),
      out: { type: 'string' },
      'channels-last': { type: 'boolean', default: false },
      tuned: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return {};
  for (const name of positionals) {
    if (!benches.includes(name))
      throw wrongUsage(`There is no bench \`${name}\`: step, head and full are known.`);
  }
  const { model, images, tuned, out } = values;
  const numbers = Object.fromEntries(
    Object.entries(counts).map(([name, value]) => [name, readCount(name, values[name], value)]),
  );
  const options = { model, images, tuned, channelsLast: values['channels-last'], ...numbers };
  return { chosen: positionals.length > 0 ? positionals : benches, options, out };
}

function readCount(name, given, otherwise) {
  if (given === undefined) return otherwise;
  const least = name === 'workers' || name === 'warmup' ? 0 : 1;
  const count = Number(given);
  if (Number.isInteger(count) && count >= least) return count;
  throw wrongUsage(`--${name} expects a whole number from ${least}; ${given} came.`);
}

function wrongUsage(message) {
  return Object.assign(new Error(`${message}\n\n${usage}`), { code: 'ERR_PARSE_ARGS' });
}

function print({ title, columns, rows, notes }, load, machine) {
  const align = (column, index) => ({ title: column, align: index === 0 ? 'left' : 'right' });
  console.log(`\n${title}\n\n${formatTable(columns.map(align), rows)}\n`);
  for (const note of notes) console.log(`- ${note}`);
  console.log(`- load average before ${load.before.join(' ')}, after ${load.after.join(' ')}`);
  if (load.before[0] > 0.3 * machine.processors) {
    console.log(
      '- NOISY: the machine was already busy before the bench began. Do not quote these figures, ratios included',
    );
  }
}
