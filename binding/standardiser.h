// A fixed layer (x - mean) / std right before a head, whose buffers are set from features.
#pragma once

#include <string>

#include "model.h"

namespace torchgraft {

bool isStandardiser(const torch::jit::Module& module);

// The attribute at this path is one's mean or std.
bool isOfStandardiser(const torch::jit::Module& module, const std::string& path);

// One feeds this layer.
bool hasStandardiser(const torch::jit::Module& module, const std::string& layer);

// Both change the graph of forward, so the module must not have run: it must be a copy, and copied again before it runs.
// Where there is none, nothing happens.
void removeStandardiser(torch::jit::Module& module, const std::string& layer);
// With mean 0 and std 1. Its path. Throws Failure("NO_HEAD") when forward never computes with the layer's weight.
std::string addStandardiser(torch::jit::Module& module, const Head& head);

}  // namespace torchgraft
