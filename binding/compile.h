// A frozen graph made fast: BatchNorm folded, activations and sums fused into convolutions, in one precision.
#pragma once

#include <memory>
#include <vector>

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
};

class Compiled {
 public:
  // graph: inputs are tensors, outputs what it computes; parameters are constants in it. It is copied.
  // example: inputs of the sizes to come, for the layout of prepacked weights.
  Compiled(const std::shared_ptr<torch::jit::Graph>& graph, CompileOptions options, const std::vector<at::Tensor>& example);

  // Without gradients. With a chunk, outputs are tensors whose first dimension is the batch.
  std::vector<c10::IValue> run(const std::vector<at::Tensor>& inputs) const;

  const CompileOptions& options() const { return options_; }
  void keepBatchesWhole() { options_.chunk = 0; }

 private:
  // Float inputs in the graph's precision.
  std::vector<at::Tensor> converted(const std::vector<at::Tensor>& inputs) const;
  std::vector<c10::IValue> runOnce(const std::vector<at::Tensor>& inputs) const;

  CompileOptions options_;
  std::shared_ptr<torch::jit::Graph> graph_;
  torch::jit::Code code_;
  // Values of the graph's last inputs: weights in oneDNN's own layout, which cannot be constants.
  std::vector<at::Tensor> packed_;
};

// Runs a graph by the interpreter, without an executor's profiling or specialisation. Gradients are as the thread has them.
std::vector<c10::IValue> interpret(const torch::jit::Code& code, std::vector<c10::IValue> inputs);

}  // namespace torchgraft
