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
  // How the prefix is compiled; its dtype is the one above.
  CompileOptions prefix;
  // Whether BatchNorm with fixed statistics is folded into its convolution in the suffix.
  bool foldNorms = true;
};

class Engine {
 public:
  // The module must outlive the engine's use. The split must be of the module as it is now.
  // example: inputs of forward, as they will come.
  Engine(Model& model, const Split& split, const EngineOptions& options, const std::vector<at::Tensor>& example);

  bool hasPrefix() const { return prefix_.has_value(); }
  // From now on large batches do not go through the prefix in parts.
  void keepBatchesWhole() {
    if (prefix_) prefix_->keepBatchesWhole();
  }
  const EngineOptions& options() const { return options_; }
  // Neither what learns nor the module has changed since: the prefix holds copies of what was frozen then.
  bool fits(const Model& model) const { return model.revision() == revision_; }
  // Text that is equal for equal prefixes: graph, weights and precision. '' without a prefix.
  const std::string& key() const { return key_; }

  // The values that cross, without gradients; without a prefix the inputs as they are. Throws Failure("MODEL_FAILED").
  std::vector<c10::IValue> features(const std::vector<at::Tensor>& inputs) const;
  // The rest of forward, with gradients as the thread has them, in the module's current mode.
  c10::IValue finish(const std::vector<c10::IValue>& features) const { return finish(features, options_.dtype); }
  // The same in another precision.
  c10::IValue finish(const std::vector<c10::IValue>& features, at::ScalarType dtype) const;

 private:
  Model& model_;
  EngineOptions options_;
  uint64_t revision_;
  std::optional<Compiled> prefix_;
  torch::jit::Code suffix_;
  std::string key_;
};

}  // namespace torchgraft
