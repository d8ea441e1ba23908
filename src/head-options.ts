import { z } from 'zod';
import { invalidValue } from './errors.js';
import type { NativeCosine } from './native.js';

/**
 * CosFace's bound (Wang et al. 2018): a scale of ln(c * p / (1 - p)) lets one of c classes have probability p. 20 is
 * enough for 0.999 of a hundred thousand.
 */
const defaultScale = 20;

/** Which features of what a network without a classifier returns its new one takes. */
export const appendedFeatures = ['pooled', 'classToken', 'both'] as const;
export type AppendedFeatures = (typeof appendedFeatures)[number];

/** What a new head may be, for zod objects of options. */
export const headShape = {
  hidden: z.array(z.int().min(1)).default([]),
  dropout: z.number().min(0).lt(1).default(0),
  layer: z.string().default(''),
  kind: z.enum(['linear', 'cosine']).default('linear'),
  scale: z.number().min(1e-6).max(1e6).optional(),
  learnScale: z.boolean().optional(),
  pooling: z.enum(['avg', 'concat']).optional(),
  append: z.enum(appendedFeatures).optional(),
};

const headSchema = z.object(headShape);

/**
 * The form of a new head.
 * - `layer`: path of the layer to replace; default: found by following the output back to the last Linear or Conv2d
 * - `hidden`: widths of hidden layers with ReLU, for a small MLP; default none
 * - `dropout`: share dropped before each layer behind a hidden one, 0 to 1; default 0
 * - `kind`: `linear`, or `cosine`: scale * x / |x| . w / |w| without a bias, so that no class has longer weights than
 *   another (Gidaris and Komodakis 2018); with `hidden` the last layer. Default `linear`
 * - `scale`: of a cosine head; default 20
 * - `learnScale`: whether that learns; default true
 * - `pooling`: what the head gets of the last map of features: its average (`avg`), or maximum and average, twice as many
 *   features (`concat`, as fastai). Default: what the model has
 * - `append`: for a network without a classifier, as DINOv2 or a ResNet without its last layer: a new Linear comes behind it, on
 *   the mean of a map [n, c, h, w], of tokens [n, t, c] or the rows [n, c] themselves (`pooled`), on the first token
 *   (`classToken`), or on that beside the mean of all others, twice as many features (`both`, as DINOv2's linear probe). A model
 *   that was saved with one takes the same again. Default: a layer is replaced
 */
export type HeadForm = z.input<typeof headSchema>;

/** A form, checked. */
export type CheckedHeadForm = z.output<typeof headSchema>;

/** Something other than one new Linear was asked for. */
export function isShaped({ hidden, layer, kind, pooling, append }: CheckedHeadForm): boolean {
  return (
    hidden.length > 0 || layer !== '' || kind !== 'linear' || pooling !== undefined || append !== undefined
  );
}

/** A form as it crosses to the addon. @throws INVALID_VALUE for a scale of a head that has none */
export function toNativeHead<F extends CheckedHeadForm>(
  form: F,
  where: string,
): Omit<F, 'kind' | 'scale' | 'learnScale' | 'pooling' | 'append'> & {
  cosine: NativeCosine | null;
  pooling?: 'avg' | 'concat';
  append?: AppendedFeatures;
} {
  const { kind, scale, learnScale, pooling, append, ...rest } = form;
  if (kind !== 'cosine' && (scale !== undefined || learnScale !== undefined)) {
    throw invalidValue(
      `${where}: \`scale\` and \`learnScale\` are of a cosine head. Leave them out, or add kind \`cosine\`.`,
    );
  }
  const cosine = kind === 'cosine' ? { scale: scale ?? defaultScale, learnsScale: learnScale ?? true } : null;
  return { ...rest, cosine, ...(pooling ? { pooling } : {}), ...(append ? { append } : {}) };
}
