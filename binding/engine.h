// A model's forward as it is computed while training: a compiled frozen prefix, then the suffix that learns.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compile.h"
#include "model.h"
#include "split.h"

namespace torchgraft {

struct EngineOptions {
  // Of the prefix's weights and activations, and of the suffix's autocast.
  at::ScalarType dtype = at::kFloat;
  // Which of compilations() the prefix is compiled by; 'exact' leaves the suffix as it is too, the others fold BatchNorm
  // with fixed statistics into its convolution there.
  std::string variant = "fused";
};

class Engine {
 public:
  // The module must outlive the engine's use. The split must be of the module as it is now.
  Engine(Model& model, const Split& split, const EngineOptions& options);

  bool hasPrefix() const { return graph_ != nullptr; }
  // From now on large batches do not go through the prefix in parts.
  void keepBatchesWhole() {
    whole_ = true;
    prefix_.reset();
  }
  const EngineOptions& options() const { return options_; }
  // How many of forward's arguments it takes; the others have their defaults.
  size_t given() const { return given_; }
  // Neither what learns nor the module has changed since: the prefix holds copies of what was frozen then.
  bool fits(const Model& model) const { return model.revision() == revision_; }
  // The prefix is compiled when it is first asked for: a run whose features are all kept never does.
  // The values that cross, without gradients; without a prefix the inputs as they are. Throws Failure("MODEL_FAILED").
  std::vector<c10::IValue> features(const std::vector<at::Tensor>& inputs) const;
  // The rest of forward, with gradients as the thread has them, in the module's current mode.
  c10::IValue finish(const std::vector<c10::IValue>& features) const { return finish(features, options_.dtype); }
  // The same in another precision.
  c10::IValue finish(const std::vector<c10::IValue>& features, at::ScalarType dtype) const;

 private:
  Model& model_;
  EngineOptions options_;
  size_t given_;
  uint64_t revision_;
  std::shared_ptr<torch::jit::Graph> graph_;
  bool whole_ = false;
  mutable std::optional<Compiled> prefix_;
  torch::jit::Code suffix_;
};

// 32 hexadecimal digits that are equal for equal prefixes: graph, weights and precision. '' without one.
std::string prefixKey(const Split& split, at::ScalarType dtype);
// Likewise for what a plan depends on: the prefix, what the suffix does and the values it reads, and the device.
std::string planKey(const Split& split, Model& model);

}  // namespace torchgraft
