import { Readable } from 'node:stream';

/**
 * Node gives `Symbol.asyncDispose` to its first realm alone before version 24. In another (a vm context, a test runner's)
 * `await using` would throw, so the same symbol is put there. Imported for this effect by what is disposed.
 */
if (Symbol.asyncDispose === undefined) {
  const found = Object.getOwnPropertySymbols(Readable.prototype).find(
    ({ description }) => description === 'Symbol.asyncDispose',
  );
  Object.defineProperty(Symbol, 'asyncDispose', { value: found ?? Symbol.for('Symbol.asyncDispose') });
}
