// Ours beside the peers: same model, data, batch and threads, in turns, on this machine.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageVersion } from '../../lib/package.js';
import { accuracy } from './benches/accuracy.js';
import { audit } from './benches/audit.js';
import { domain } from './benches/domain.js';
import { forgetting } from './benches/forgetting.js';
import { full } from './benches/full.js';
import { head } from './benches/head.js';
import { last } from './benches/last.js';
import { loader } from './benches/loader.js';
import { memory } from './benches/memory.js';
import { predict } from './benches/predict.js';
import { scale } from './benches/scale.js';
import { spurious } from './benches/spurious.js';
import { start } from './benches/start.js';
import { step } from './benches/step.js';
import { strategies } from './benches/strategies.js';
import { transfer } from './benches/transfer.js';
import { describeMachine, measureOthers, readLoad } from './machine.js';
import { makeUsage, optionTypes, readOptions, WrongUsage } from './options.js';
import { PeerMissing } from './peer-missing.js';
import { root } from './places.js';
import { describeMachineLine, printResult } from './report.js';

const benches = [
  head,
  last,
  full,
  step,
  loader,
  predict,
  start,
  memory,
  scale,
  accuracy,
  audit,
  domain,
  forgetting,
  spurious,
  strategies,
  transfer,
];

try {
  await main();
} catch (error) {
  const isUsage = error instanceof WrongUsage || error.code?.startsWith('ERR_PARSE_ARGS');
  console.error(isUsage ? `${error.message}\n\n${makeUsage(benches)}` : error.stack);
  process.exitCode = isUsage ? 2 : 1;
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...optionTypes(benches),
      out: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const { help, out, ...given } = values;
  if (help) return console.log(makeUsage(benches));
  const chosen = chooseBenches(positionals);
  const options = readOptions(chosen, given);
  const file = out ?? defaultFile(positionals);
  mkdirSync(dirname(file), { recursive: true });
  const machine = describeMachine();
  console.log(describeMachineLine(machine, packageVersion()));
  const results = [];
  for (const [index, bench] of chosen.entries()) {
    const result = await runBench(bench, options[index]);
    results.push(result);
    printResult(result);
    // After each, so that an interrupted bench keeps what it has.
    const content = { date: new Date().toISOString(), command: process.argv.slice(2), machine, results };
    writeFileSync(file, `${JSON.stringify(content, null, 1)}\n`);
  }
  console.log(`\nwritten: ${file}`);
}

/** A bench that cannot run, or fails, does not keep the others from running; the exit code tells of a failure. */
async function runBench(bench, options) {
  const load = { before: readLoad(), othersShare: await measureOthers() };
  const head = { bench: bench.name, about: bench.about, setting: options, load };
  try {
    const result = await bench.run(options);
    load.after = readLoad();
    if (result.checks.some(({ ok }) => !ok)) process.exitCode = 1;
    return { ...head, ...result };
  } catch (error) {
    if (error instanceof PeerMissing) return { ...head, skipped: error.message };
    process.exitCode = 1;
    return { ...head, failed: error.stack };
  }
}

function chooseBenches(names) {
  const unknown = names.find((name) => !benches.some((bench) => bench.name === name));
  if (unknown !== undefined) {
    throw new WrongUsage(
      `There is no bench \`${unknown}\`. There are ${benches.map(({ name }) => name).join(', ')}.`,
    );
  }
  return names.length > 0 ? benches.filter(({ name }) => names.includes(name)) : benches;
}

function defaultFile(names) {
  const time = new Date().toISOString().replaceAll(/[:.]/g, '-');
  return join(root, 'bench-results', `${names.join('-') || 'all'}-${time}.json`);
}
