// Convolutions with what follows them, as one oneDNN operation.
#pragma once

#include <memory>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Rewrites convolutions of constant weights to mkldnn::_convolution_pointwise, with a following activation (relu, relu6,
// hardtanh, hardswish, silu, sigmoid, tanh, leaky_relu) or a sum with another tensor (and its relu) fused in. Their
// weights become inputs behind the graph's own, in oneDNN's layout: see pack().
class FusedConvolutions {
 public:
  // Rewrites the graph.
  explicit FusedConvolutions(const std::shared_ptr<torch::jit::Graph>& graph);

  // The weights for inputs like these. oneDNN picks a weight's layout by the size of what it meets, so the graph runs
  // once to learn that. A layout made for another size costs up to six times a convolution's own time.
  std::vector<c10::IValue> pack(const std::vector<at::Tensor>& inputs) const;

 private:
  struct Weight {
    at::Tensor value;
    std::vector<int64_t> stride, padding, dilation;
    int64_t groups;
  };
  std::vector<Weight> weights_;
  // The graph before it was rewritten; its outputs are what the convolutions are given.
  std::shared_ptr<torch::jit::Graph> probe_;
};

}  // namespace torchgraft
