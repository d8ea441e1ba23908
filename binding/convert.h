// Models as they were exported for another place: in half or double precision, or for a GPU.
#pragma once

#include <string>
#include <vector>

#include "torch.h"

namespace torchgraft {

struct Conversion {
  // What the weights were in, for example 'float16'; empty where they are float32.
  std::vector<std::string> precisions;
  // Its code named another device than the one it is on.
  bool moved = false;
};

// Weights become float32, and code that names their precision or another device names float32 and `device`. The module
// must not have run.
Conversion convertToFloat(torch::jit::Module& module, const at::Device& device);

// What holds 8-bit weights: paths of modules, or the operations that the code calls. Such weights cannot learn.
std::vector<std::string> quantisedParts(const torch::jit::Module& module);

}  // namespace torchgraft
