import { types } from 'node:util';
import { z } from 'zod';

/**
 * What a value is, whatever realm it was made in. `instanceof` knows the classes of one realm, and test runners (Jest,
 * Vitest's vm pools), `vm` and iframes have several.
 */

export const { isFloat32Array, isInt32Array, isUint8Array, isRegExp } = types;

/** Bytes of either kind. */
export function isBytes(value: unknown): value is Uint8Array | Uint8ClampedArray {
  return types.isUint8Array(value) || types.isUint8ClampedArray(value);
}

export function isAbortSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener, removeEventListener } = (value ?? {}) as Partial<AbortSignal>;
  return (
    typeof aborted === 'boolean' &&
    typeof addEventListener === 'function' &&
    typeof removeEventListener === 'function'
  );
}

/** An option of a kind that zod has no type for. Another kind is INVALID_TYPE. */
export function optionOf<T>(isOfKind: (value: unknown) => boolean, expected: string): z.ZodType<T, T> {
  return z.custom<T>().check(({ value, issues }) => {
    if (isOfKind(value)) return;
    issues.push({
      code: 'invalid_type',
      expected: expected as 'custom',
      input: value,
      message: `Invalid input: expected ${expected}`,
    });
  });
}

/** The option `signal` of whatever can be stopped. */
export const signalOption = optionOf<AbortSignal>(isAbortSignal, 'an AbortSignal').optional();

/** An option that is called. */
export function callback<T>() {
  return optionOf<T>((value) => typeof value === 'function', 'a function').optional();
}
