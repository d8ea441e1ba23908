// PyTorch's SGD, Adam, AdamW and RMSprop over named parameters, on libtorch's fused and foreach kernels. L-BFGS is in
// lbfgs.cc: it evaluates the loss many times in a step; here are its groups alone.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace torchgraft {

/// The words and defaults of torch.optim. Each kind reads only its own fields.
struct OptimizerOptions {
  enum Kind { sgd, adam, adamw, rmsprop, lbfgs };
  Kind kind = sgd;
  double momentum = 0;    // sgd, rmsprop
  double dampening = 0;   // sgd
  bool nesterov = false;  // sgd
  double beta1 = 0.9;     // adam, adamw
  double beta2 = 0.999;
  double epsilon = 1e-8;  // adam, adamw, rmsprop
  double alpha = 0.99;    // rmsprop
  bool centered = false;  // rmsprop
  int64_t maxIterations = 20;  // lbfgs, in one step
  int64_t historySize = 10;
  double toleranceGradient = 1e-7;
  double toleranceChange = 1e-9;
};

/// Parameters that share a learning rate and a weight decay.
struct Group {
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  double learningRate = 0;
  double weightDecay = 0;
};

class Optimizer {
 public:
  /// Groups are fixed from here on. A tensor that comes under a second name (tied weights) is stepped once, where it
  /// came first.
  Optimizer(OptimizerOptions options, std::vector<Group> groups);

  /// One update of every parameter that has a gradient. One without is left alone, its state too, as PyTorch does.
  void step();

  /// The groups as they are now, with those parameters that learn; without the groups where none does.
  std::vector<Group> learning() const;

  /// One rate for each group. Throws SHAPE_MISMATCH when the counts differ.
  void setLearningRates(const std::vector<double>& rates);

  /// Gradients become undefined, not zero.
  void zeroGrad();

  /// 2-norm of all gradients taken as one vector; 0 when there are none. Waits for the device.
  double gradientNorm() const;

  /// Scales all gradients by min(1, maxNorm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_.
  /// `norm` is what gradientNorm() gave.
  void clip(double maxNorm, double norm);

  /// Multiplies all gradients; 1/k turns the sum over k accumulated batches into their mean.
  void scaleGradients(double factor);

  /// Index of the parameter's group, -1 for a name in none.
  int groupOf(const std::string& name) const;

  /// Dict[str, Dict[str, Tensor]]: parameter -> PyTorch's name of the state -> the live tensor (not a copy), for
  /// torch::pickle_save. Parameters that were never stepped are not in it.
  c10::IValue state() const;

  /// Copies a state() back; parameters that are not in it start afresh. Throws CHECKPOINT_INVALID, naming the
  /// parameter, and changes nothing when a name, shape or dtype does not fit.
  void loadState(const c10::IValue& value);

 private:
  using State = std::map<std::string, at::Tensor>;
  struct Slot {
    std::string name;
    at::Tensor parameter;
    State state;
  };
  struct StaticGroup {
    std::vector<Slot> slots;
    double learningRate;
    double weightDecay;
  };
  struct Bucket;

  std::vector<Bucket> gather(StaticGroup& group) const;
  void prepareState(Slot& slot, const at::Tensor& like) const;
  void stepSgd(Bucket& bucket, const StaticGroup& group) const;
  void stepAdam(Bucket& bucket, const StaticGroup& group) const;
  void stepRmsprop(Bucket& bucket, const StaticGroup& group) const;
  std::vector<at::Tensor> gradients() const;
  State checkedState(const Slot& slot, const c10::IValue& value) const;

  OptimizerOptions options_;
  std::vector<std::string> stateNames_;
  std::vector<StaticGroup> groups_;
  std::unordered_map<std::string, int> groupOf_;
};

}  // namespace torchgraft
