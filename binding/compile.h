// A frozen graph made fast: BatchNorm folded, activations and sums fused into convolutions, in one precision.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fuse.h"
#include "quantise.h"
#include "torch.h"

namespace torchgraft {

struct CompileOptions {
  // Precision of weights and activations; float32 outputs all the same.
  at::ScalarType dtype = at::kFloat;
  // Folds BatchNorm, additions and factors into convolutions and linear layers.
  bool fold = true;
  // oneDNN's convolutions with prepacked weights and fused activations. CPU only.
  bool fuse = true;
  // Images a pass; larger batches run in several, which keeps activations in the processor's cache and memory small.
  // 0 for all at once.
  int64_t chunk = 0;
  // Inputs whose values give the ranges of 8-bit numbers; none for no 8-bit convolutions. float32, folded, not fused.
  std::vector<at::Tensor> samples;
};

// Ways to compile for a device, the best first, by name: 'fused', 'folded', and 'exact' (neither; float32 alone).
// input: the first input as it will come.
std::vector<std::pair<std::string, CompileOptions>> compilations(const at::Device& device, const at::Tensor& input, at::ScalarType dtype);

class Compiled {
 public:
  // graph: inputs are tensors, outputs what it computes; parameters are constants in it. It is copied.
  Compiled(const std::shared_ptr<torch::jit::Graph>& graph, CompileOptions options);

  // Without gradients. Where a batch is larger than the chunk, outputs must be tensors whose first dimension is the batch.
  std::vector<c10::IValue> run(const std::vector<at::Tensor>& inputs) const;

  const CompileOptions& options() const { return options_; }

  // Where it has 8-bit convolutions: with this engine from now on.
  void useEngine(at::QEngine engine);

 private:
  // Float inputs in the graph's precision.
  std::vector<at::Tensor> converted(const std::vector<at::Tensor>& inputs) const;
  std::vector<c10::IValue> pack(const std::vector<at::Tensor>& inputs) const;
  std::vector<c10::IValue> runOnce(const std::vector<at::Tensor>& inputs) const;

  CompileOptions options_;
  std::shared_ptr<torch::jit::Graph> graph_;
  torch::jit::Code code_;
  std::optional<FusedConvolutions> fused_;
  std::optional<QuantisedConvolutions> quantised_;
  at::QEngine engine_ = at::QEngine::NoQEngine;
  // Their weights for one sample, and for more: latency and throughput want other layouts.
  mutable std::vector<c10::IValue> packedForOne_;
  mutable std::vector<c10::IValue> packedForMany_;
};

// Runs a graph by the interpreter, without an executor's profiling or specialisation. Gradients are as the thread has them.
std::vector<c10::IValue> interpret(const torch::jit::Code& code, std::vector<c10::IValue> inputs);

}  // namespace torchgraft
