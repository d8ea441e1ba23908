import { TorchgraftError } from '../errors.js';

/** 2 for wrong usage, 130 when interrupted, else 1. */
export function exitCode(error: unknown): number {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (code === 'ABORTED') return 130;
  return code === 'INVALID_TYPE' || code === 'INVALID_VALUE' || code === 'PATTERN_UNMATCHED' ? 2 : 1;
}

/** An error for a person: expected ones as one paragraph, bugs with their stack. TORCHGRAFT_DEBUG=1 shows every stack. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return `error: ${String(error)}`;
  const isExpected = error instanceof TorchgraftError || exitCode(error) === 2;
  const code = 'code' in error ? ` [${String(error.code)}]` : '';
  if (isExpected && !process.env.TORCHGRAFT_DEBUG) return `error${code}: ${error.message}`;
  const cause = error.cause instanceof Error ? `\ncaused by: ${error.cause.stack}` : '';
  return `error${code}: ${error.stack ?? error.message}${cause}`;
}
