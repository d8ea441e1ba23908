/** What crosses to the addon to configure training. */
import type { NativeForgetting } from './native-forgetting.js';

/** `reduction` is always the mean over the batch; gamma belongs to focal, beta (delta) to huber. */
export type NativeLoss =
  | { kind: 'crossEntropy'; labelSmoothing: number; classWeights?: Float32Array }
  | { kind: 'bceWithLogits'; classWeights?: Float32Array }
  | { kind: 'focal'; gamma: number; classWeights?: Float32Array }
  | { kind: 'mse' }
  | { kind: 'huber'; delta: number }
  | { kind: 'source'; source: string };

export type NativeOptimizer =
  | { kind: 'sgd'; momentum: number; dampening: number; nesterov: boolean }
  | { kind: 'adam' | 'adamw'; beta1: number; beta2: number; epsilon: number }
  | { kind: 'rmsprop'; alpha: number; epsilon: number; momentum: number; centered: boolean }
  | {
      kind: 'lbfgs';
      /** In one step. */
      maxIterations: number;
      /** Pairs of changes of weights and of gradients that are kept. */
      historySize: number;
      toleranceGradient: number;
      toleranceChange: number;
    };

/** Static parameter groups: every parameter of the model is in exactly one of them. */
export interface NativeGroup {
  parameters: string[];
  learningRate: number;
  weightDecay: number;
}

/** Augmentation done on the device, a pure function of (seed, epoch, sample index). Angles in degrees. */
export interface NativeAugment {
  /** Random resized crop: share of the area kept [low, high] and aspect ratio [low, high]; null for none. */
  crop: { scale: [number, number]; ratio: [number, number] } | null;
  horizontalFlip: number;
  verticalFlip: number;
  rotation: number;
  brightness: number;
  contrast: number;
  saturation: number;
  hue: number;
  /** 14 operations of torchvision's RandAugment; magnitude is a bin, 0 to 30. Absent: none. */
  randAugment?: { operations: number; magnitude: number };
  /** torchvision's RandomErasing, on normalised values. Absent: none. */
  erasing?: {
    probability: number;
    scale: [number, number];
    ratio: [number, number];
    value: 'zero' | 'noise';
  };
  /** alpha of the Beta distribution of the shares; of whole batches, in steps on images. Absent: none. */
  mixup?: number;
  cutmix?: number;
}

/** How uint8 pixels become the model's input. mean and std are in units of 0..1. */
export interface NativePreprocess {
  mean: number[];
  std: number[];
  /** Height and width the model receives, pixels. */
  size: [number, number];
}

export interface NativeTraining {
  optimizer: NativeOptimizer;
  groups: NativeGroup[];
  loss: NativeLoss;
  /** GroupDRO: each step's batch has `groups`, 0 to `groups` - 1. Not with lbfgs. */
  groupDro?: { groups: number; stepSize: number };
  /** Largest gradient norm (2-norm over all parameters); 0 for no clipping. */
  clipNorm: number;
  /** Batches whose gradients are averaged before one optimizer step. */
  accumulate: number;
  /** Weight of each auxiliary output's loss. */
  auxiliaryWeight: number;
  seed: number;
  preprocess: NativePreprocess | null;
  augment: NativeAugment | null;
  /** Needs a kept source; not with lbfgs. */
  forgetting?: NativeForgetting;
}
