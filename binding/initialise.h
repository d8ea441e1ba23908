// PyTorch's default initialisation, seeded.
#pragma once

#include <cstdint>

#include "torch.h"

namespace torchgraft {

// A CPU generator seeded as torch.manual_seed does.
at::Generator seededGenerator(uint64_t seed);

// Fills a Linear's or convolution's weight and (if defined) bias as torch.nn.Linear.reset_parameters does:
// kaiming_uniform with a = sqrt(5), which is U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for both. Weight first, then bias.
void initialiseLayer(at::Tensor weight, at::Tensor bias, at::Generator& generator);

// Every Linear, convolution, BatchNorm, LayerNorm, GroupNorm and Embedding of the tree, in tree order, in place.
void initialiseLayers(const torch::jit::Module& module, uint64_t seed);

}  // namespace torchgraft
