// Convolutions with what follows them, as one oneDNN operation.
#pragma once

#include <memory>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Rewrites convolutions of constant weights to mkldnn::_convolution_pointwise, with a following activation (relu, relu6,
// hardtanh, hardswish, silu, sigmoid, tanh, leaky_relu) or a sum with another tensor (and its relu) fused in. Their
// weights, reordered for oneDNN, become inputs behind the graph's own; returns their values.
std::vector<at::Tensor> fuseConvolutions(const std::shared_ptr<torch::jit::Graph>& graph);

}  // namespace torchgraft
