// What turns a network's scores into probabilities at the end of its forward: losses and predictions take logits, and a
// second softmax would flatten them.
#pragma once

#include <string>
#include <vector>

#include "head_search.h"
#include "torch.h"

namespace torchgraft {

// Softmax, sigmoid and their logarithms, right behind a head but for what rearranges values: their names, each once.
std::vector<std::string> squashesBehind(const Head& head);

// Takes them out of forward behind these heads; calls are inlined for it. Returns their names, each once.
std::vector<std::string> cutSquashes(torch::jit::Module& module, const std::vector<Head>& heads);

}  // namespace torchgraft
