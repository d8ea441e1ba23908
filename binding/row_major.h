// Convolutions that must not be given channels-last while they learn.
#pragma once

#include "torch.h"

namespace torchgraft {

// oneDNN's gradient of the weight of a 1x1 convolution with a stride and fewer than 16 input channels writes behind its
// memory where input or weight is channels-last (docs/upstream.md), and the process ends some steps later. Images are
// channels-last here. So these convolutions are given both in row-major memory, the same numbers; returns how many there are.
// graph: inlined, its first input is the module.
int keepRowMajor(torch::jit::Graph& graph, const torch::jit::Module& module);

}  // namespace torchgraft
