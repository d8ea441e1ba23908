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

// Of forward's arguments only the first `given` are inputs any more; those behind them have their defaults.
void holdDefaults(std::shared_ptr<torch::jit::Graph>& graph, const torch::jit::Module& module, size_t given);

// Inlines every call in forward itself, whose graph is to be changed, and takes the branches that switches decide which never
// change. For libtorch compiles the code of a file anew when it is opened, and keeps a copy of all of it for
// each variable that only one side of a branch has, 1.8 GB for DenseNet121.
std::shared_ptr<torch::jit::Graph> flattenForward(torch::jit::Module& module);

// How many inputs forward is usually given: its arguments without a default, and one at least.
size_t usualArguments(const torch::jit::Module& module);

// A specialised copy of forward for so many arguments in which every `training` flag stays a read, whatever mode the module is
// in. No call is left in it.
std::shared_ptr<torch::jit::Graph> openForward(const torch::jit::Module& module, size_t given);
// A copy of an open forward as it is in training, or in eval mode.
std::shared_ptr<torch::jit::Graph> settled(torch::jit::Graph& open, bool training);

}  // namespace torchgraft
