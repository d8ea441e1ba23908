import { type ErrorCode, invalidType, invalidValue, isTorchgraftError, TorchgraftError } from './errors.js';

interface NativeError {
  code?: unknown;
  message?: unknown;
  backtrace?: unknown;
}

/**
 * Runs a call into the addon and rethrows its errors as torchgraft's own, with a JavaScript stack. libtorch's words
 * with their backtrace become `cause`.
 */
export async function callNative<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw translateNative(error);
  }
}

/** A native error as a TypeError, RangeError or TorchgraftError; anything else as it is. */
export function translateNative(error: unknown): unknown {
  const { code, message, backtrace } = (error ?? {}) as NativeError;
  if (typeof code !== 'string' || typeof message !== 'string' || isTorchgraftError(error)) return error;
  if (code === 'INVALID_TYPE') return invalidType(message);
  if (code === 'INVALID_VALUE') return invalidValue(message);
  const cause = typeof backtrace === 'string' ? new Error(backtrace) : error;
  return new TorchgraftError(code as ErrorCode, message, { cause });
}
