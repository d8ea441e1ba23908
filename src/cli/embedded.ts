import { completePreprocessing } from '../data/preprocessing.js';

/** What assets/backbone.pt was pretrained with. */
export const backbonePreprocessing = completePreprocessing({ size: 96, resize: 96 });
