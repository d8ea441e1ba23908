// Loss functions, mean over the batch, and losses compiled from TorchScript source.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

namespace torch::jit {
struct CompilationUnit;
struct Function;
}  // namespace torch::jit

namespace torchgraft {

struct LossOptions {
  enum Kind { crossEntropy, bceWithLogits, focal, mse, huber, source };
  Kind kind = crossEntropy;
  /// One weight per class; empty for none. crossEntropy and focal: weight of each sample by its class (crossEntropy
  /// divides by the sum of the weights, as torch.nn.CrossEntropyLoss; focal by the number of samples).
  /// bceWithLogits: `pos_weight` of torch.nn.BCEWithLogitsLoss.
  std::vector<float> classWeights;
  double labelSmoothing = 0;  // crossEntropy
  double gamma = 2;           // focal
  double delta = 1;           // huber
  std::string text;           // source: `def loss(output, target): ...`
};

/// crossEntropy: torch.nn.functional.cross_entropy. focal: mean of -w_t (1 - p_t)^gamma log p_t over softmax
/// probabilities (Lin et al., Focal loss for dense object detection, 2017). bceWithLogits, mse, huber: torch.nn.functional.
class Loss {
 public:
  /// Throws SOURCE_INVALID when source text does not compile to one function of two tensors.
  Loss(LossOptions options, at::Device device);

  /// output: logits [n, classes] (crossEntropy and focal also [n, classes, d1, ...]), computed in float32 at least.
  /// target: class indices [n] of any integer dtype; crossEntropy and focal also take a share of each class, floats of
  /// output's shape whose rows sum to 1: focal is then the sum of its terms by share; bceWithLogits, mse and huber make them one-hot, or take values of
  /// output's shape; source text gets indices as int64, unchecked, and values as they are. Indices are checked where
  /// `target` lies: pass it on the CPU and no device is waited for.
  /// Returns a scalar. Throws SHAPE_MISMATCH when target does not fit output or an index is no class, INVALID_VALUE for
  /// shares that are negative or do not sum to 1.
  at::Tensor operator()(const at::Tensor& output, const at::Tensor& target) const;

  /// The losses [n] of the samples, of which the scalar is the mean, but with class weights: crossEntropy's scalar is
  /// their sum over that of the weights. Throws INVALID_VALUE for source text, which gives one number for a batch.
  at::Tensor each(const at::Tensor& output, const at::Tensor& target) const;

 private:
  at::Tensor compute(const at::Tensor& output, const at::Tensor& target, int64_t reduction) const;
  at::Tensor callSource(const at::Tensor& output, const at::Tensor& target) const;

  LossOptions options_;
  at::Tensor classWeights_;
  std::shared_ptr<torch::jit::CompilationUnit> unit_;
  torch::jit::Function* function_ = nullptr;
};

}  // namespace torchgraft
