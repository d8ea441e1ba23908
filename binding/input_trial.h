// What goes through a model whose forward has just failed.
#pragma once

#include <string>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Runs a copy of the model in eval mode on zeros of other shapes, and says the first that it takes, with what to do; empty
// where none is taken, or where the shape is not the cause. Nothing of the module changes.
std::string tryOtherInputs(const torch::jit::Module& module, bool isTraced, const std::vector<at::Tensor>& inputs);

}  // namespace torchgraft
