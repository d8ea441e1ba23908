// One training session on a model: optimizer, loss, steps, the best weights so far, checkpoints.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "anchor.h"
#include "augment.h"
#include "distillation.h"
#include "engine.h"
#include "failure.h"
#include "feature_bank.h"
#include "group_loss.h"
#include "loss.h"
#include "model.h"
#include "optimizer.h"
#include "plan.h"
#include "test_views.h"
#include "source.h"

namespace torchgraft {

struct GroupSpec {
  std::vector<std::string> parameters;
  double learningRate = 0;
  double weightDecay = 0;
};

// What is done against forgetting what the source could do.
struct ForgettingOptions {
  AnchorOptions anchor;
  DistillationOptions distillation;
  // Parameters that the source did not have, though it may have others of these names.
  std::unordered_set<std::string> fresh;
};

struct TrainingOptions {
  OptimizerOptions optimizer;
  std::vector<GroupSpec> groups;
  LossOptions loss;
  GroupLossOptions groupLoss;
  double clipNorm = 0;
  int64_t accumulate = 1;
  double auxiliaryWeight = 0.4;
  uint64_t seed = 0;
  std::optional<Preprocess> preprocess;
  std::optional<AugmentOptions> augment;
  std::optional<ForgettingOptions> forgetting;
};

struct Batch {
  std::vector<at::Tensor> inputs;
  // Undefined when only logits are wanted.
  at::Tensor target;
  // float [n], or int32 [n]: how the losses of the samples are weighed. Undefined: all alike.
  at::Tensor weights;
  at::Tensor groups;
  // int32 [n] and [n, 2]; needed with augmentation only.
  at::Tensor indices;
  at::Tensor sizes;
  uint64_t epoch = 0;
  std::vector<double> learningRates;
  bool flush = false;
  // Rows of the feature bank instead of inputs.
  std::vector<int64_t> rows;
  // Of evaluations; inputs then have a row for each crop.
  TestViews views;
};

// Images whose features are kept, under one key each.
struct FeatureBatch {
  Batch batch;
  std::vector<FeatureKey> keys;
  // Seed of the augmentation; none: as an evaluation sees them.
  std::optional<uint64_t> augmentSeed;
};

struct StepResult {
  // Of the task alone.
  double loss = 0;
  // What is added to it against forgetting: the distillation of this batch, and the anchor where an accumulation ended.
  double penalty = 0;
  // Of a mixed batch: those whose largest logit is the label of the image with the larger share.
  int64_t correct = -1;
  int64_t count = 0;
  double gradientNorm = 0;
  double seconds = 0;
};

// Dropout draws from libtorch's one generator per process. Whoever sets that generator holds this while it is used, so that
// models at work at the same time do not change each other's numbers.
std::mutex& randomLock();

// That generator as it is now, to be put back.
class KeptGenerator {
 public:
  explicit KeptGenerator(const at::Device& device);
  // No destructor does it, for it may throw.
  void restore();

 private:
  at::Generator generator_;
  at::Tensor state_;
};

Failure nothingLearns();
// Samples whose largest logit is the target; -1 when targets are no class indices.
int64_t countCorrect(const at::Tensor& output, const at::Tensor& target);

struct Evaluation {
  double loss = 0;
  // float32 [n, ...] on the CPU.
  at::Tensor logits;
};

// The batch as the model takes it: images normalised where there is a preprocessing, on the model's device.
std::vector<at::Tensor> preparedInputs(const Batch& batch, const std::optional<Preprocess>& preprocess, const at::Device& device);
// The main output, averaged over the views, and its loss when the batch has a target.
Evaluation judge(const at::Tensor& output, const at::Tensor& target, const Loss& loss, const TestViews& views);

// float16 gradients vanish below 6e-8, so the loss is multiplied by a factor that falls when they overflow and grows
// while they do not: torch.amp.GradScaler with its defaults (Micikevicius et al., Mixed precision training, 2018).
struct LossScale {
  double factor = 65536;
  int64_t steady = 0;
  void overflowed();
  void fitted();
};

class Trainer {
 public:
  // `source` is needed where options.forgetting is set.
  Trainer(Model& model, TrainingOptions options, std::shared_ptr<const Source> source);

  // Forward, loss, backward and, when an accumulation ends, the optimizer; with lbfgs, up to maxIterations of it on these
  // samples, from a fresh history, and the result is where they ended. A loss or gradient that is not finite leaves
  // weights and BatchNorm statistics as they were and throws Failure("LOSS_NOT_FINITE").
  StepResult step(const Batch& batch);

  // Decides how steps and evaluations are computed from now on, and proves on this batch that it equals the model as it
  // was loaded. Weights, statistics and gradients stay as they are. What is decided holds until the model is changed.
  PlanReport plan(const Batch& batch, const PlanRequest& request);
  // Equal for models that are computed alike; '' where forward cannot be taken apart.
  std::string planKey();
  // Takes a plan that was proven before for a model with this planKey(), without trying it again.
  PlanReport usePlan(const KnownPlan& known);
  // In eval mode, without gradients.
  Evaluation evaluate(const Batch& batch, const std::optional<Preprocess>& preprocess);

  // Where the crossing values of the plan are kept from now on. Throws Failure("INVALID_VALUE") when they cannot be.
  const FeatureStore& openFeatures(FeatureStoreOptions options);
  std::vector<int64_t> findFeatures(const std::vector<FeatureKey>& keys);
  // Runs the prefix on images and keeps what crosses. Row numbers, -1 where there is no room.
  std::vector<int64_t> storeFeatures(const FeatureBatch& request);
  // The crossing values of these rows, [n, ...] float32 each, on the CPU. Throws Failure("FEATURES_DAMAGED").
  std::vector<at::Tensor> readFeatures(const std::vector<int64_t>& rows) const;

  const TrainingOptions& options() const { return options_; }
  int groupOf(const std::string& name) const { return optimizer_.groupOf(name); }

  void keepBest();
  void restoreBest();

  void saveCheckpoint(const std::string& path, ExtraFiles extra);
  // Checks everything against the model before anything is changed. Returns the JSON extra file.
  std::string loadCheckpoint(const std::string& path);

 private:
  friend class Planner;
  at::Tensor prepare(const Batch& batch) const;
  std::vector<at::Tensor> trainingInputs(const Batch& batch) const;
  StepResult fit(const Batch& batch);
  FeatureBank& bank() const;
  // For so many of forward's arguments.
  const Split& split(size_t given);
  // How many inputs a batch has where none is at hand: an image, else what forward needs.
  size_t usualInputs() const;
  // What crosses the cut for this batch: kept rows, or what the prefix gives for the inputs.
  std::vector<c10::IValue> featuresOf(const Batch& batch, const Engine& fast, const std::vector<at::Tensor>& inputs) const;
  // The engine, unless the model was changed since it was planned.
  const Engine* engine() const { return engine_ && engine_->fits(model_) ? engine_.get() : nullptr; }
  // The same, and null where the batch has another number of inputs than it was planned for. Throws when it has rows.
  const Engine* engineFor(const Batch& batch) const;
  // With dropout's generator seeded by the step.
  c10::IValue seeded(const std::function<c10::IValue()>& forward) const;
  // How this batch's images are mixed; nothing without augmentation that mixes, and for kept rows.
  std::optional<Mix> mixOf(const Batch& batch, const std::vector<at::Tensor>& inputs) const;
  // seeded(), and its loss.
  std::pair<c10::IValue, at::Tensor> forwardAndLoss(const std::function<c10::IValue()>& forward, const Batch& batch);
  at::Tensor lossOf(const c10::IValue& output, const Batch& batch);
  // The output without the logits of a source head that was joined to it.
  at::Tensor taskOutput(const c10::IValue& output) const;
  // Adds the penalty of what is anchored to `penalty`. Returns the gradient's norm.
  double finishAccumulation(double& penalty);
  void configureForgetting(std::shared_ptr<const Source> source);

  Model& model_;
  TrainingOptions options_;
  Loss loss_;
  GroupLoss groupLoss_;
  Optimizer optimizer_;
  int64_t steps_ = 0;
  int64_t accumulated_ = 0;
  NamedTensors best_;
  std::shared_ptr<Engine> engine_;
  at::ScalarType precision_ = at::kFloat;
  LossScale scale_;
  std::optional<Split> split_;
  uint64_t splitRevision_ = 0;
  std::vector<Crossing> layout_;
  std::unique_ptr<FeatureBank> bank_;
  std::unique_ptr<Anchor> anchor_;
  std::unique_ptr<Distillation> distillation_;
};

}  // namespace torchgraft
