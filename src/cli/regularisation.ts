import { InvalidArgumentError } from 'commander';
import type { RegularisationOption } from '../forgetting/options.js';

/** `l2-sp`, `l2-sp:0.1`, `l2-sp:0.1:0.01`, `ewc` or `ewc:1000`. */
export function parseRegularisation(text: string): RegularisationOption {
  const [kind, ...strengths] = text.split(':');
  const numbers = strengths.map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  const isValid = numbers.every((value) => value >= 0 && Number.isFinite(value));
  const [first, second] = numbers;
  if (isValid && kind === 'l2-sp' && numbers.length <= 2) {
    return {
      ...{ kind },
      ...(first === undefined ? {} : { alpha: first }),
      ...(second === undefined ? {} : { beta: second }),
    };
  }
  if (isValid && kind === 'ewc' && numbers.length <= 1) {
    return { kind, ...(first === undefined ? {} : { lambda: first }) };
  }
  throw new InvalidArgumentError('Expected l2-sp, l2-sp:ALPHA, l2-sp:ALPHA:BETA, ewc or ewc:LAMBDA.');
}
