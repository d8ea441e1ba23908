export type { ModelCard } from './card.js';
export {
  Classifier,
  type EvaluatedImage,
  type EvaluateOptions,
  type Evaluation,
  loadClassifier,
  type PredictOptions,
} from './classifier.js';
export type { DatasetSummary, ImageDataset, Sample, SplitName } from './data/dataset.js';
export type { ImageSource, RawPixels } from './data/decode.js';
export { DecodedImages, type DecodedImagesOptions } from './data/decoded-images.js';
export { type ImageFolderOptions, imageFolder } from './data/folder.js';
export { BatchLoader, type BatchLoaderOptions, type ImageBatch, type SkippedImage } from './data/loader.js';
export { imageManifest } from './data/manifest.js';
export {
  completePreprocessing,
  type Normalisation,
  normalisation,
  type Preprocessing,
} from './data/preprocessing.js';
export { type DoctorProblem, type DoctorReport, doctor, renderDoctor } from './doctor.js';
export type { EarlyStoppingOptions } from './early-stopping.js';
export { type ErrorCode, TorchgraftError } from './errors.js';
export {
  clearFeatures,
  evictFeatures,
  type FeatureCacheFile,
  type FeatureCrossing,
  type FeatureIdentity,
  featureCacheFiles,
} from './feature-cache.js';
export type { ComputationReport } from './fine-tune/computation.js';
export type { CachePlace, FeatureReport } from './fine-tune/features.js';
export { type FineTuneResult, FineTuning, fineTune } from './fine-tune/fine-tune.js';
export type { BatchProgress, FineTuneOptions, Strategy } from './fine-tune/options.js';
export type { EpochReport } from './fine-tune/report.js';
export type { Libtorch } from './libtorch/find.js';
export type { LibtorchFolder } from './libtorch/folder.js';
export type {
  ClassificationMetrics,
  ClassScores,
  Scores,
} from './metrics/classification.js';
export { ClassificationMeter, classificationMetrics, type MeterOptions } from './metrics/meter.js';
export type { NamedMetrics } from './metrics/names.js';
export {
  type FreezeOptions,
  type HeadOptions,
  type LoadOptions,
  loadModel,
  Model,
  type ModelOrigin,
  type ParameterSelection,
} from './model.js';
export type {
  BufferDescription,
  DType,
  EvaluateResult,
  HeadDescription,
  ModelDescription,
  ModuleDescription,
  NativeInfo,
  NativeOptimizer,
  ParameterDescription,
  Plan,
  PlanTrial,
  Precision,
  ReplaceHeadResult,
  StepResult,
  Tensor,
  TensorData,
  Value,
} from './native.js';
export { type PlanOptions, planModel } from './plan.js';
export type { PredictorOptions, PredictorRequestOptions } from './predictor/options.js';
export { createPredictor, Predictor, type PredictorStats } from './predictor/predictor.js';
export type { Latencies, LatencySummary, RequestCounts } from './predictor/statistics.js';
export {
  type ExtractOptions,
  extractFeatures,
  type FeatureSplit,
  type Features,
} from './probe/features.js';
export { writeHead } from './probe/head.js';
export type { Difference, ProbeMetric } from './probe/interval.js';
export type { LinearMap } from './probe/linear-file.js';
export { type LogisticOptions, logisticProbe } from './probe/logistic.js';
export { type NearestMeanOptions, nearestMeanProbe } from './probe/nearest-mean.js';
export { type NeighboursOptions, neighboursProbe } from './probe/neighbours.js';
export {
  type Candidate,
  type FailedModel,
  type RankBy,
  type RankedModel,
  type Ranking,
  type RankOptions,
  rankModels,
} from './probe/rank.js';
export type { ProbeResult } from './probe/result.js';
export { type RidgeOptions, ridgeProbe } from './probe/ridge.js';
export { shuffleWeights } from './probe/shuffle-weights.js';
export {
  type ControlScore,
  type TransferCheck,
  type TransferCheckOptions,
  type TrunkScore,
  transferCheck,
} from './probe/transfer-check.js';
export { hScore, logME } from './probe/transferability.js';
export type { Verdict } from './probe/verdict.js';
export type { Prediction, ScoredClass } from './ranking.js';
export { confusionTable, perClassTable } from './report/metrics-tables.js';
export { modelTable } from './report/model-table.js';
export { rankingTable } from './report/ranking-table.js';
export type { Schedule, ScheduleOptions } from './schedule.js';
export { createTrainer, Trainer, type TrainerBatch, type TrainerOptions } from './trainer.js';
export type { AugmentOption, LossOption, OptimizerOption } from './training-options.js';
