/** How the shared data's models want their pixels, as the peer's models.py has it. */
export function normalisationOf(model) {
  return /mobilenet_v2/.test(model) ? 'signed' : 'imagenet';
}

/** The peer's learning rates: constant, for everything that learns. */
export const learningRateOf = (strategy) => (strategy === 'head' ? 1e-3 : 1e-4);
