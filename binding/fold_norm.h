// BatchNorm in eval mode, folded into the convolution before it while both may learn.
#pragma once

#include <memory>

#include "torch.h"

namespace torchgraft {

// Removes the checks that PyTorch's layers make of their input's number of dimensions (`if input.dim() != 4: raise`): a
// value they look at cannot be fused away. The operations behind them check it too.
void removeDimensionChecks(const std::shared_ptr<torch::jit::Graph>& graph);

// conv(x, w, b) -> batch_norm(gamma, beta, mean, variance, eps) with statistics that do not change becomes
// conv(x, w s, beta + (b - mean) s), s = gamma / sqrt(variance + eps): one pass over the activations less, forward and
// backward, and one tensor of them less to keep. Exact up to rounding, gradients of w, b, gamma and beta included.
// Left alone where gamma learns and w does not: the convolution would then need a gradient that it is spared now.
// Returns how many were folded.
int foldFixedNorms(torch::jit::Graph& graph, const torch::jit::Module& module);

}  // namespace torchgraft
