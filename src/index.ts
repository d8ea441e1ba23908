export { type Adaptation, type AdaptationCheck, type AdaptOptions, adapt } from './adapt.js';
export { inspectModelFile, type ModelFileReport } from './archive/inspect.js';
export {
  findLabelIssues,
  type LabelIssue,
  type LabelIssueOptions,
  type LabelIssues,
} from './audit/label-issues.js';
export {
  type DuplicateImage,
  findNearDuplicates,
  type NearDuplicate,
  type NearDuplicateOptions,
  type NearDuplicates,
} from './audit/near-duplicates.js';
export type { AugmentOption, AugmentPreset } from './augment-option.js';
export type { CacheFile, ClearOptions } from './cache-files.js';
export type { ModelCard } from './card.js';
export {
  Classifier,
  type EvaluatedImage,
  type EvaluateOptions,
  type Evaluation,
  loadClassifier,
  type PredictOptions,
} from './classifier.js';
export type { DatasetSummary, ImageDataset, Purpose, Sample, SplitName } from './data/dataset.js';
export type { ImageSource, RawPixels } from './data/decode.js';
export { DecodedImages, type DecodedImagesOptions } from './data/decoded-images.js';
export { type ImageFolderOptions, imageFolder } from './data/folder.js';
export { type ImageLimits, imageLimits } from './data/image-limits.js';
export { BatchLoader, type BatchLoaderOptions, type ImageBatch, type SkippedImage } from './data/loader.js';
export { type ImageManifestOptions, imageManifest } from './data/manifest.js';
export {
  completePreprocessing,
  type Normalisation,
  normalisation,
  type Preprocessing,
} from './data/preprocessing.js';
export { type SliceRules, type SliceSource } from './data/slices.js';
export type { Task } from './data/task.js';
export { type DoctorProblem, type DoctorReport, doctor, renderDoctor } from './doctor.js';
export { adaptDomain, type DomainAdaptation } from './domain/adapt.js';
export type { TargetFigures } from './domain/decide.js';
export { type AdaptDomainOptions, type DomainMethod, domainMethods } from './domain/options.js';
export type { DomainMethodReport } from './domain/report.js';
export type { DomainShift } from './domain/shift.js';
export type { TargetImages } from './domain/target.js';
export { unlabelledImages } from './domain/target-folder.js';
export { EarlyStopping, type EarlyStoppingOptions, type EarlyStoppingState } from './early-stopping.js';
export { type ErrorCode, TorchgraftError } from './errors.js';
export type { EvaluatedTargets, TargetEvaluation } from './evaluate-targets.js';
export {
  clearFeatures,
  evictFeatures,
  type FeatureCacheFile,
  type FeatureCrossing,
  type FeatureIdentity,
  featureCacheFiles,
} from './feature-cache.js';
export type { Baselines } from './fine-tune/baselines.js';
export type { ComputationReport } from './fine-tune/computation.js';
export type { CachePlace, FeatureReport } from './fine-tune/features.js';
export { fineTune } from './fine-tune/fine-tune.js';
export { FineTuning } from './fine-tune/fine-tuning.js';
export type { GroupsOption } from './fine-tune/group-training.js';
export type { Licences } from './fine-tune/licences.js';
export type { BatchProgress, FineTuneOptions, Strategy } from './fine-tune/options.js';
export type { EpochReport } from './fine-tune/report.js';
export type { FineTuneResult } from './fine-tune/result.js';
export { type ScratchBaseline, trainFromScratch } from './fine-tune/scratch.js';
export type { StageReport } from './fine-tune/stage-run.js';
export type { DistillationOption, RegularisationOption, RetainOption } from './forgetting/options.js';
export { renderWiseFtChart, wiseFtTable } from './forgetting/render.js';
export type { RetentionPoint, RetentionReport } from './forgetting/retention.js';
export { type WiseFtOptions, type WiseFtPoint, type WiseFtResult, wiseFt } from './forgetting/wise-ft.js';
export type { GradCamMap, GradCamOptions } from './grad-cam.js';
export type { HeadForm } from './head-options.js';
export type {
  GradCamPicture,
  Mistake,
  OcclusionMap,
  ReportContent,
  SavedModel,
} from './html-report/content.js';
export { renderReport } from './html-report/page.js';
export { type ReportedRun, type ReportOptions, writeReport } from './html-report/write.js';
export type { Libtorch } from './libtorch/find.js';
export type { LibtorchFolder } from './libtorch/folder.js';
export { loadAdapter, saveAdapter } from './lora/adapter-file.js';
export type { LoraOptions } from './lora/options.js';
export type { FoundRates } from './lr-find/groups.js';
export {
  type FindLearningRateOptions,
  findLearningRate,
  type LearningRateSearch,
  type SweepOptions,
} from './lr-find/lr-find.js';
export { renderSweepChart, renderSweepText } from './lr-find/render.js';
export type { LearningRateSuggestion, SweepPoint } from './lr-find/suggestions.js';
export type { SweepEnd } from './lr-find/sweep.js';
export {
  type BootstrapDifference,
  type BootstrapDifferenceOptions,
  type BootstrapInterval,
  type BootstrapOptions,
  bootstrapDifference,
  bootstrapInterval,
} from './metrics/bootstrap.js';
export type { Calibration, ReliabilityBin } from './metrics/calibration.js';
export type {
  ClassificationMetrics,
  ClassScores,
  Scores,
} from './metrics/classification.js';
export { averagePrecision, rocAuc } from './metrics/curves.js';
export { classificationInterval, type MetricInterval, type ResamplingOptions } from './metrics/intervals.js';
export { ClassificationMeter, classificationMetrics, type MeterOptions } from './metrics/meter.js';
export {
  type LabelScores,
  type MultiLabelMetrics,
  type MultiLabelOptions,
  multiLabelMetrics,
} from './metrics/multi-label.js';
export {
  metricMode,
  metricNames,
  type NamedMetrics,
  nameMetrics,
  nameMultiLabelMetrics,
  nameRegressionMetrics,
} from './metrics/names.js';
export { type RegressionMetrics, regressionMetrics } from './metrics/regression.js';
export { type ClassificationScores, oneVersusRest } from './metrics/scores.js';
export type { ComparedSlice, GroupScores, SliceGap, SliceStanding } from './metrics/slice-comparison.js';
export {
  groupScores,
  type SliceOptions,
  type SliceReport,
  type SliceScores,
  sliceMetrics,
} from './metrics/slices.js';
export { classificationStatistic, type Statistic, type StatisticName } from './metrics/statistics.js';
export {
  type TargetScores,
  type TargetSliceMetric,
  type TargetSliceOptions,
  type TargetSliceReport,
  targetSliceMetrics,
} from './metrics/target-slices.js';
export {
  isClassified,
  isMultiLabel,
  isRegression,
  type MultiLabelValidation,
  type RegressionValidation,
  type Validation,
  type ValidationByTask,
} from './metrics/tasks.js';
export { type TunedThreshold, tuneThreshold, type WantedAtThreshold } from './metrics/thresholds.js';
export {
  type AdaptInputOptions,
  type FreezeOptions,
  type HeadOptions,
  type LoadOptions,
  loadModel,
  Model,
  type ModelGradCamOptions,
  type ModelOrigin,
  type ParameterSelection,
} from './model.js';
export type {
  AdapterDescription,
  AddAdaptersRequest,
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
export type { NamedSliceReport, NamedTargetSliceReport } from './outcome-slices.js';
export type { Outcomes } from './outcomes.js';
export { type PlanOptions, planModel } from './plan.js';
export { clearPlans, planCacheFiles } from './plan-cache.js';
export type { CalibrationImages, Int8Report } from './predictor/int8.js';
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
export { type LastLayerOptions, type LastLayerResult, retrainLastLayer } from './probe/last-layer.js';
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
export { domainTable } from './report/domain-table.js';
export { calibrationTable, confusionTable, figuresTable, perClassTable } from './report/metrics-tables.js';
export { modelTable } from './report/model-table.js';
export { rankingTable } from './report/ranking-table.js';
export { sliceTables } from './report/slice-tables.js';
export { type RunRecord, readRunRecord } from './run-record.js';
export type { Schedule, ScheduleOptions } from './schedule.js';
export type { SearchOptions, SharedOptions } from './search/options.js';
export { renderSearchChart, searchTable } from './search/render.js';
export { type SearchResult, search } from './search/search.js';
export type { SearchDimension, SearchRange, SearchSpace, TrialConfig } from './search/space.js';
export type { SearchTrial } from './search/trials.js';
export { EventFile } from './tensorboard/event-file.js';
export type { TestTimeAugmentation } from './test-time.js';
export { createTrainer, Trainer, type TrainerBatch, type TrainerOptions } from './trainer.js';
export type { LossOption, OptimizerOption } from './training-options.js';
