// Lists as values: what is appended to, made anew instead.
#pragma once

#include <memory>

#include "torch.h"

namespace torchgraft {

// DenseNet appends to a list between the concatenations of it. Where nothing but appends changes a list, and it is kept
// nowhere, each read gets a list of its own with what has been appended by then.
void replaceAppends(const std::shared_ptr<torch::jit::Graph>& graph);

}  // namespace torchgraft
