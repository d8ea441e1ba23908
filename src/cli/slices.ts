import { type Command, InvalidArgumentError } from 'commander';
import type { SliceRules } from '../data/slices.js';
import { collect } from './arguments.js';

/** Flags that name slices of a data set. */
export interface SliceFlags {
  slice?: string[];
  slicePath?: Record<string, string>[];
}

/** The options of {@link SliceFlags}. */
export function addSlices(command: Command): Command {
  return command
    .option('--slice <column>', 'slices by a column of the manifest; may be repeated', collect)
    .option(
      '--slice-path <name=regex>',
      'slices by the first group of a regular expression, matched on the path within the data; may be repeated',
      collectRules,
    );
}

/** What they say, for `imageFolder` and `imageManifest`; undefined without any. */
export function sliceRulesOf({ slice = [], slicePath = [] }: SliceFlags): SliceRules | undefined {
  const rules = [...slice, ...slicePath];
  return rules.length > 0 ? rules : undefined;
}

function collectRules(text: string, before: Record<string, string>[] = []): Record<string, string>[] {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) {
    throw new InvalidArgumentError('Expected NAME=REGEX with a group, for example "site=/(site-[a-z])/".');
  }
  return [...before, { [text.slice(0, at)]: text.slice(at + 1) }];
}
