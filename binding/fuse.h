// Convolutions with what follows them, as one oneDNN operation.
#pragma once

#include <memory>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Rewrites convolutions of constant weights to mkldnn::_convolution_pointwise, with a following activation (relu, relu6,
// hardtanh, hardswish, silu, sigmoid, tanh, leaky_relu) or a sum with another tensor (and its relu) fused in. Their
// weights, reordered for oneDNN, become inputs behind the graph's own; returns their values.
// example: inputs of the graph. oneDNN picks a weight's layout by the size of the images it meets: the graph runs once
// to learn them. A layout made for another size costs up to six times a convolution's own time.
std::vector<at::Tensor> fuseConvolutions(const std::shared_ptr<torch::jit::Graph>& graph, const std::vector<at::Tensor>& example);

}  // namespace torchgraft
