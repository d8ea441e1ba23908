import { inspectModelFile, type ModelFileReport } from '../archive/inspect.js';
import { formatBytes } from './cache.js';
import { print, printJson } from './output.js';

/** `torchgraft inspect --safe`: what a file holds, with nothing of it run. */
export async function inspectSafely(path: string, asJson: boolean): Promise<void> {
  const found = await inspectModelFile(path);
  if (asJson) printJson(found);
  else print(textOf(path, found));
}

function textOf(path: string, found: ModelFileReport): string {
  const { kind, problem, bytes, records, tensors, moduleClasses, operators, runsWhenOpened, reaches, card } =
    found;
  const lines = [`file      ${path}, ${formatBytes(bytes)}`, `kind      ${kind}`];
  if (records.length > 0) {
    const inflated = records.reduce((sum, record) => sum + record.bytes, 0);
    const numbers = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const dtypes = [...new Set(tensors.map(({ dtype }) => dtype))].join(', ');
    lines.push(
      `records   ${records.length}, ${formatBytes(inflated)} unpacked`,
      `tensors   ${tensors.length} with ${numbers.toLocaleString('en-US')} numbers (${dtypes})`,
      `modules   ${listed(moduleClasses.map((name) => name.slice(name.lastIndexOf('.') + 1)))}`,
      `operators ${listed(operators)}`,
      `opening   ${runsWhenOpened.length > 0 ? `runs code: ${listed(runsWhenOpened)}` : 'runs no code'}`,
      `reaches   ${listed(reaches) || 'no files, no other processes'}`,
    );
  }
  if (card) lines.push(`classes   ${card.classes.join(', ')}`);
  if (problem) lines.push(`problem   ${problem}`);
  return lines.join('\n');
}

const listed = (names: string[]) => [...new Set(names)].join(', ');
