// Every graph that a module's code is made of, as it is written: methods, and functions that they call.
#pragma once

#include <functional>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Each graph once. A method's first input is its module; a function has no module. What is changed in them runs and is
// saved, as long as nothing has run or been inlined yet.
std::vector<torch::jit::Graph*> graphsOf(const torch::jit::Module& module);

}  // namespace torchgraft
