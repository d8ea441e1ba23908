import type { Tensor } from './native.js';
import type { NativePreprocess } from './native-training.js';

/** A penalty on how far weights are from the source's; see binding/anchor.h. */
export type NativeAnchor = { kind: 'l2-sp'; alpha: number; beta: number } | { kind: 'ewc'; lambda: number };

/** What a training does against forgetting what its source could do. */
export interface NativeForgetting {
  anchor?: NativeAnchor;
  /** Of the source's head, which `joinSourceHead` put behind the `classes` outputs of `layer`. */
  distillation?: { weight: number; temperature: number; layer: string; classes: number };
  /** Names of parameters that the source did not have, whatever it has of these names. */
  fresh: readonly string[];
}

/** What a native model keeps of what it was before. */
export interface NativeSource {
  /** Copies all weights and buffers as they are now: the source of `configure`'s `forgetting`. */
  keepSource(): Promise<void>;
  dropSource(): Promise<void>;
  /**
   * Adds each sample's squared gradient of log p(label | sample), in eval mode, to the diagonal of the source's Fisher
   * information. Without `target` (class indices [n]) labels are drawn from the model's own probabilities, seeded.
   */
  addFisher(batch: {
    inputs: Tensor[];
    target?: Tensor;
    preprocess?: NativePreprocess;
    seed: number;
  }): Promise<void>;
  /** The diagonal by parameter, mean over the samples so far; null where there is none. */
  fisher(names: string[]): Promise<(Tensor | null)[]>;
  /** Puts the source's outputs of this layer behind those that it has; the session ends. */
  joinSourceHead(layer: string): Promise<void>;
  /** Leaves this layer its first `outputs`; the session ends. */
  partSourceHead(layer: string, outputs: number): Promise<void>;
}
