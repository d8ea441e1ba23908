// Parameters and buffers that have several names, or share memory: tied weights.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Files may come with several tensors over the same memory in the same shape. They become one tensor, so that whoever
// compares tensors sees that they are tied.
void unifyTied(torch::jit::Module& module);

// The names of each parameter and buffer beside its first one, by that. Only of tensors that have several.
std::unordered_map<std::string, std::vector<std::string>> otherNames(const torch::jit::Module& module);

// Pairs of parameters that are different tensors over overlapping memory, such as a weight and its transpose.
std::vector<std::pair<std::string, std::string>> overlappingParameters(const std::vector<std::pair<std::string, at::Tensor>>& parameters);

}  // namespace torchgraft
