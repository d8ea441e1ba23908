// One training session on a model: optimizer, loss, steps, the best weights so far, checkpoints.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "augment.h"
#include "loss.h"
#include "model.h"
#include "optimizer.h"

namespace torchgraft {

struct GroupSpec {
  std::vector<std::string> parameters;
  double learningRate = 0;
  double weightDecay = 0;
};

struct TrainingOptions {
  OptimizerOptions optimizer;
  std::vector<GroupSpec> groups;
  LossOptions loss;
  double clipNorm = 0;
  int64_t accumulate = 1;
  double auxiliaryWeight = 0.4;
  uint64_t seed = 0;
  std::optional<Preprocess> preprocess;
  std::optional<AugmentOptions> augment;
};

struct Batch {
  std::vector<at::Tensor> inputs;
  // Undefined when only logits are wanted.
  at::Tensor target;
  // int32 [n] and [n, 2]; needed with augmentation only.
  at::Tensor indices;
  at::Tensor sizes;
  uint64_t epoch = 0;
  std::vector<double> learningRates;
  bool flush = false;
};

struct StepResult {
  double loss = 0;
  int64_t correct = -1;
  int64_t count = 0;
  double gradientNorm = 0;
  double seconds = 0;
};

struct Evaluation {
  double loss = 0;
  // float32 [n, ...] on the CPU.
  at::Tensor logits;
};

// Logits of the main output in eval mode, and their loss when the batch has a target.
Evaluation evaluate(Model& model, const Batch& batch, const std::optional<Preprocess>& preprocess, const Loss& loss);

class Trainer {
 public:
  Trainer(Model& model, TrainingOptions options);

  // Forward, loss, backward and, when an accumulation ends, the optimizer. A loss or gradient that is not finite leaves
  // weights and BatchNorm statistics as they were and throws Failure("LOSS_NOT_FINITE").
  StepResult step(const Batch& batch);

  const TrainingOptions& options() const { return options_; }
  const Loss& loss() const { return loss_; }
  int groupOf(const std::string& name) const { return optimizer_.groupOf(name); }

  void keepBest();
  void restoreBest();

  void saveCheckpoint(const std::string& path, ExtraFiles extra);
  // Checks everything against the model before anything is changed. Returns the JSON extra file.
  std::string loadCheckpoint(const std::string& path);

 private:
  at::Tensor prepare(const Batch& batch) const;
  at::Tensor lossOf(const c10::IValue& output, const at::Tensor& target) const;
  double finishAccumulation();

  Model& model_;
  TrainingOptions options_;
  Loss loss_;
  Optimizer optimizer_;
  int64_t steps_ = 0;
  int64_t accumulated_ = 0;
  NamedTensors best_;
};

}  // namespace torchgraft
