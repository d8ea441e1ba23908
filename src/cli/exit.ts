import { asSystemError, explainSystemError } from '../system-error.js';

/** 2 for wrong usage, 130 when interrupted, else 1. */
export function exitCode(error: unknown): number {
  const { code } = partsOf(error);
  if (code === 'ABORTED') return 130;
  return code === 'INVALID_TYPE' || code === 'INVALID_VALUE' || code === 'PATTERN_UNMATCHED' ? 2 : 1;
}

/**
 * An error for a person: ours and the operating system's as one paragraph, bugs with their stack. TORCHGRAFT_DEBUG=1
 * shows every stack.
 */
export function explain(error: unknown): string {
  const { code, name, message, stack, cause } = partsOf(error);
  if (message === undefined) return `error: ${String(error)}`;
  const label = `error${code === undefined ? '' : ` [${code}]`}: `;
  const system = asSystemError(error);
  const isExpected = name === 'TorchgraftError' || exitCode(error) === 2 || system !== undefined;
  if (!isExpected || process.env.TORCHGRAFT_DEBUG) {
    const below = partsOf(cause).stack;
    return `${label}${stack ?? message}${below === undefined ? '' : `\ncaused by: ${below}`}`;
  }
  // A name in the message that holds a line break forges no line of its own.
  return label + (system ? explainSystemError(system) : message).replaceAll('\n', '\n  ');
}

/** Not by `instanceof`: an error may come from another realm, or another copy of this package. */
function partsOf(error: unknown) {
  const { code, name, message, stack, cause } = (error ?? {}) as Record<string, unknown>;
  const textOf = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return {
    code: textOf(code),
    name: textOf(name),
    message: textOf(message),
    stack: textOf(stack),
    cause,
  };
}
