// Models traced in train mode: their dropout and BatchNorm are made to follow train and eval mode.
#pragma once

#include <string>

#include "torch.h"

namespace torchgraft {

// Where the code says `training=True` to dropout or BatchNorm for good, it reads its module's own flag instead. Returns
// how many they were. For traced modules: in scripted ones such a constant is the author's. Nothing of the module may have run or
// been inlined before.
int followMode(torch::jit::Module& module);

// An operation of forward that draws random numbers, or normalises by its batch, in eval mode too, so that the same
// input gives other outputs; '' where there is none.
std::string changingInEval(const torch::jit::Module& module);

}  // namespace torchgraft
