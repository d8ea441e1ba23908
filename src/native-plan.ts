/** How a model is split and computed, as it crosses between TypeScript and the addon. */

/** How a session is to compute; see {@link Plan}. */
export interface NativePlanRequest {
  /** `auto`: bfloat16 where the device has it natively, it proves equal, and what is frozen has arithmetic enough; else float32. */
  precision: Precision | 'auto';
  /** False runs the model unsplit. */
  split: boolean;
}

/** Of activations, and of the weights of what is frozen; weights that learn are float32 in any. */
export type Precision = 'float32' | 'bfloat16' | 'float16';

/** One way of computing that was tried on the first batch. */
export interface PlanTrial {
  /** `fused`: BatchNorm folded, activations and sums inside the convolutions; `folded`; `exact`: neither. */
  variant: 'fused' | 'folded' | 'exact';
  precision: Precision;
  /** Forward and backward of the batch; nothing is chosen by it. */
  milliseconds: number;
  /** 2-norm of the outputs' deviation from the unsplit model's in float32, relative to theirs; null where it failed. */
  outputDifference: number | null;
  /** Likewise of the gradients of all that learns, as one. Each is judged by itself. */
  gradientDifference: number | null;
  /** In float32 equal but for rounding; in a lower precision no further off than the unsplit model there, and proven in float32. */
  accepted: boolean;
  /** Why not: what deviates, or libtorch's words where it could not be built or run; else ''. */
  failure: string;
}

/**
 * The cut between what is frozen and what learns, found by data flow, and how both are computed. Frozen layers that no
 * learning parameter, random number or changing statistic feeds into are the prefix; it runs compiled, without
 * gradients, and its outputs (crossing values) can be kept. The rest, the suffix, is trained.
 */
export interface Plan {
  /** Proven in an earlier run of a model with the same frozen weights and operations. */
  remembered: boolean;
  /** There is a prefix. */
  split: boolean;
  /** Why there is none; '' when there is one. */
  reason: string;
  variant: 'fused' | 'folded' | 'exact' | 'unsplit';
  precision: Precision;
  precisionReason: string;
  /** Paths of the modules whose parameters each part reads, in forward order. */
  prefixLayers: string[];
  suffixLayers: string[];
  /** Values that cross the cut, of one sample. */
  crossings: { shape: number[]; dtype: string }[];
  /** Each sample's crossing values depend on that sample alone. */
  cacheable: boolean;
  /** Floating-point operations of one sample's convolutions and matrix products, forward. */
  prefixFlops: number;
  totalFlops: number;
  /** Equal for equal prefixes (graph, weights, precision); '' without one. */
  key: string;
  trials: PlanTrial[];
}
