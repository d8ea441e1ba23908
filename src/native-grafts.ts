/** What crosses to the addon to change what a model's forward computes with. */
import type { ReplaceHeadRequest, ReplaceHeadResult, Tensor } from './native.js';

/** A low-rank adapter of a layer: it computes with weight + scale * (up down) in place of its weight. */
export interface AdapterDescription {
  layer: string;
  rank: number;
  /** alpha / rank. */
  scale: number;
  /** Names of its parameters: A, [rank, in], and B, [out, rank], of the weight as a matrix [out, in * height * width]. */
  down: string;
  up: string;
}

export interface AddAdaptersRequest {
  /** Paths of layers that may have one; those that are no Linear or Conv2d, or too small for the rank, get none. */
  layers: string[];
  rank: number;
  scale: number;
  seed: number;
}

export interface PutAdaptersRequest {
  /** The new head; null where the model has it. */
  head: ReplaceHeadRequest | null;
  adapters: AddAdaptersRequest;
  /** A, [rank, in], and B, [out, rank], of each layer. */
  down: Tensor[];
  up: Tensor[];
  /** Of the head. */
  names: string[];
  values: Tensor[];
}

export interface AdaptInputRequest {
  channels: number;
  /** Inputs for the dry forward. */
  example: Tensor[];
}

/** A cosine head: scale * x / |x| . w / |w|. */
export interface NativeCosine {
  scale: number;
  learnsScale: boolean;
}

/** Methods of NativeModel that change its layers; after each, training must be configured anew. */
export interface NativeGrafts {
  /** Adapters that change nothing yet; they learn from now on. All or none. */
  addAdapters(request: AddAdaptersRequest): Promise<void>;
  /** Adds what adapters have learned to the weights, and removes them. */
  mergeAdapters(): Promise<void>;
  /** The head, adapters and values of an adapter file. All or none: when it fails, the model is as it was. */
  putAdapters(content: PutAdaptersRequest): Promise<ReplaceHeadResult>;
  /** Another number of input channels, by the first convolution's weight. */
  adaptInput(request: AdaptInputRequest): Promise<void>;
}
