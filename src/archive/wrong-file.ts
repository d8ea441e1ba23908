import { type ErrorCode, TorchgraftError } from '../errors.js';
import type { FileFacts } from '../native.js';
import { translateNative } from '../native-call.js';
import { describeKind, unknownOperator } from './kinds.js';

/**
 * Runs a call of the addon that opens a file, and says of a file of another kind what it is and what to do.
 *
 * @param path of the file; undefined for bytes
 */
export async function openingFile<T>(path: string | undefined, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw translateWrongFile(error, path) ?? translateNative(error);
  }
}

function translateWrongFile(error: unknown, path: string | undefined): TorchgraftError | undefined {
  const { code, facts, backtrace } = (error ?? {}) as {
    code?: ErrorCode;
    facts?: FileFacts;
    backtrace?: string;
  };
  if (!code || typeof facts?.kind !== 'string') return undefined;
  return wrongFile(code, facts, path, backtrace);
}

/** An error that says what a file is in place of what it should be. */
export function wrongFile(
  code: ErrorCode,
  facts: FileFacts,
  path: string | undefined,
  backtrace?: string,
): TorchgraftError {
  const cause = backtrace === undefined ? {} : { cause: new Error(backtrace) };
  const isOther = code === 'CHECKPOINT_INVALID' && !['torchscript', 'damaged-zip'].includes(facts.kind);
  const sentence = isOther
    ? `${path} is no checkpoint of torchgraft: it ${describeKind(facts, path).is}`
    : sentenceOf(facts, path);
  return new TorchgraftError(code, sentence, cause);
}

/** What a file is, and what to do with it. */
export function sentenceOf(facts: FileFacts, path: string | undefined): string {
  const { is, advice } =
    facts.kind === 'unknown-operator' ? unknownOperator(facts.operator ?? '') : describeKind(facts, path);
  return `${path ?? 'The model given as bytes'} ${is} ${advice}`.trim();
}
