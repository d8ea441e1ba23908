// Makes forward's graph that of one module as it is: what does not change becomes a constant.
#pragma once

#include <memory>

#include "torch.h"

namespace torchgraft {

// Flags and numbers that do not change become constants, and the branches they decide are taken.
void specialise(std::shared_ptr<torch::jit::Graph>& graph, const torch::jit::Module& module);

// Reads of parameters and buffers become constants, which share their memory and have no gradient, and self is no input any
// more. False when an attribute is an object that cannot be one, or is assigned: the graph is of no use then.
bool holdParameters(std::shared_ptr<torch::jit::Graph>& graph, const torch::jit::Module& module);

// A specialised copy of forward as it is in eval mode, whatever mode the module is in; no call is left in it.
std::shared_ptr<torch::jit::Graph> forwardInEval(const torch::jit::Module& module);

}  // namespace torchgraft
