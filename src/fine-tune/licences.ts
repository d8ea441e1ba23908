import { z } from 'zod';
import { innerOptions } from '../options.js';

const words = z.string().trim().min(1).max(1000).optional();

/** One for all that takes licences. */
export const licencesOption = innerOptions({ model: words, data: words });

/**
 * Under which licences the parts came, in words or as SPDX identifiers, for example
 * `{ model: 'Apache-2.0', data: 'CC-BY-4.0' }`. They are recorded, not checked.
 */
export type Licences = z.input<typeof licencesOption>;
