import type { Tensor } from './native.js';
import type { NativePreprocess } from './native-training.js';

/** Maps of the places that speak for a class; see binding/grad_cam.h. */
export interface NativeGradCam {
  /**
   * Grad-CAM in eval mode; nothing of the model changes. Images are uint8 [n, h, w, 3] with `preprocess`, else inputs are what
   * forward takes. `classes`: one for each sample, [n]; default: those of the largest logit.
   */
  gradCam(batch: {
    inputs: Tensor[];
    preprocess?: NativePreprocess;
    classes?: Int32Array;
  }): Promise<GradCamResult>;
}

/** What `Model.gradCam` gives. */
export interface GradCamResult {
  /** float32 [n, height, width] of the last map of features: the largest of each sample is 1, or all are 0. */
  maps: Tensor;
  /** The class of each map, [n]. */
  classes: Int32Array;
  /** float32 [n, classes]. */
  logits: Tensor;
}
