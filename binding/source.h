// What a model was before it is fine-tuned: where penalties pull to, and what a distillation compares with.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "model.h"

namespace torchgraft {

class Source {
 public:
  // Copies all parameters and buffers as they are now.
  explicit Source(const Model& model);

  // The copy of that name, undefined where there is none of this shape and dtype.
  at::Tensor like(const std::string& name, const at::Tensor& tensor) const;
  // Throws Failure("INVALID_VALUE") for a name that the source does not have.
  const at::Tensor& at(const std::string& name) const;

  // Adds each sample's squared gradient of log p(label | sample) with respect to every floating-point parameter, in eval
  // mode. Labels are the target's class indices [n]; without a target they are drawn from the model's own probabilities,
  // as the Fisher information asks for (seeded by `seed` and the number of the sample). The model must be the source.
  // Throws Failure("SHAPE_MISMATCH") for labels that are no class, MODEL_FAILED where the output is not [n, classes].
  void addFisher(Model& model, const std::vector<at::Tensor>& inputs, const at::Tensor& target, uint64_t seed);
  // Diagonal of the Fisher information: the mean over the samples so far. Undefined for a name without one.
  at::Tensor fisher(const std::string& name) const;
  int64_t samples() const { return samples_; }

 private:
  std::unordered_map<std::string, at::Tensor> tensors_;
  std::unordered_map<std::string, at::Tensor> squares_;
  int64_t samples_ = 0;
};

// Appends the source's outputs of the layer (Linear or Conv2d) to those that it has, so that one forward gives both heads'
// logits, the new one's first. What was frozen stays frozen. Throws Failure("NO_HEAD") where they do not fit together.
void joinSourceHead(Model& model, const Source& source, const std::string& layer);
// Leaves the first `outputs` of the layer. Throws Failure("NO_HEAD") where it has no more than those.
void partSourceHead(Model& model, const std::string& layer, int64_t outputs);

}  // namespace torchgraft
