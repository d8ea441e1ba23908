import type { ModelCard } from '../card.js';
import type { Outcomes } from '../outcomes.js';
import type { RunRecord } from '../run-record.js';

/** What a report tells. All but the record may be missing: the report then says so in its place. */
export interface ReportContent {
  record: RunRecord;
  card?: ModelCard;
  /** The saved model. */
  model?: SavedModel;
  /** What the best weights say of each validation image. */
  outcomes?: Outcomes;
  /** Most confident first. */
  mistakes?: Mistake[];
  /** Pictures of what the record's audit doubts, data: URIs by path. */
  doubted?: Record<string, string>;
  /** What could not be told and why, one sentence each. */
  missing?: string[];
}

export interface SavedModel {
  /** Name of the file, without folders. */
  file: string;
  bytes: number;
  sha256: string;
}

/** An image that the model is wrong about. */
export interface Mistake {
  path: string;
  truth: string;
  predicted: string;
  /** Of the predicted class, 0 to 1. */
  confidence: number;
  /** Of the true class, 0 to 1. */
  truthProbability: number;
  /** The image as the model saw it, a data: URI; undefined where it can no longer be read. */
  picture?: string;
  /** At most one of the two: Grad-CAM, or an occlusion map where the network has no map of features before its head. */
  gradCam?: GradCamPicture;
  occlusion?: OcclusionMap;
}

/** Where the network saw what speaks for the predicted class. */
export interface GradCamPicture {
  /** The image with the map over it, a data: URI. */
  picture: string;
  /** Nothing speaks for the class: the map is 0 throughout. */
  empty: boolean;
}

/** Where covering the image takes probability from the predicted class. */
export interface OcclusionMap {
  /** The image with the map over it, a data: URI. */
  picture: string;
  /** Largest loss of probability by one patch, 0 to 1. */
  largestDrop: number;
}
