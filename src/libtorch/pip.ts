import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { OnBytes } from './download.js';

/**
 * Downloads PyTorch's wheel of this version into `directory` with the user's own pip and its configuration (index,
 * proxy, certificates). Nothing is installed. Returns the wheel's path.
 *
 * @throws Error in plain words, with pip's last line, when there is no python3, no pip or no such wheel
 */
export async function downloadWheel(version: string, directory: string, onBytes: OnBytes): Promise<string> {
  // pip has no machine-readable progress before 24.1: it downloads into TMPDIR, whose growth is watched instead.
  const temporary = join(directory, 'pip');
  mkdirSync(temporary, { recursive: true });
  const args = ['-m', 'pip', 'download', `torch==${version}`, '--no-deps', '--no-input', '-d', directory];
  const child = spawn('python3', args, {
    env: { ...process.env, TMPDIR: temporary, PYTHONUNBUFFERED: '1', PIP_DISABLE_PIP_VERSION_CHECK: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const watch = setInterval(() => onBytes(folderBytes(temporary), announcedBytes(output)), 500);
  try {
    await new Promise<void>((done, fail) => {
      child.on('error', () => fail(new Error('python3 is not installed')));
      child.on('close', (code) =>
        code === 0 ? done() : fail(new Error(`pip failed: ${lastLine(errors || output)}`)),
      );
    });
  } finally {
    clearInterval(watch);
  }
  const wheel = readdirSync(directory).find((name) => name.endsWith('.whl'));
  if (!wheel) throw new Error(`pip brought no wheel of torch ${version}: ${lastLine(output)}`);
  return join(directory, wheel);
}

/** pip writes `Downloading torch-….whl (190.3 MB)`. */
function announcedBytes(output: string): number {
  const size = /Downloading .*torch-.*\((\d+(?:\.\d+)?) MB\)/.exec(output)?.[1];
  return size ? Number(size) * 1e6 : 0;
}

function folderBytes(directory: string): number {
  try {
    const entries = readdirSync(directory, { withFileTypes: true, recursive: true });
    return entries
      .filter((entry) => entry.isFile())
      .reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0);
  } catch {
    // pip moves its files about meanwhile; the next look will see them.
    return 0;
  }
}

function lastLine(text: string): string {
  const lines = text.trim().split('\n');
  return (
    (lines.findLast((line) => line.startsWith('ERROR:')) ?? lines.at(-1) ?? '').trim() || 'it said nothing'
  );
}
