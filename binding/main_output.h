// Where forward's graph makes the main output.
#pragma once

#include <string>
#include <utility>

#include "output_place.h"
#include "torch.h"

namespace torchgraft {

// Who takes the main output: the end of forward, or what puts it into a tuple, list or dict there; and as which of its inputs.
// Throws Failure("NO_HEAD") where that cannot be told. Its message begins with `what`, as in "A head with hidden layers needs", and ends
// with `advice`.
std::pair<torch::jit::Node*, size_t> takerOf(torch::jit::Graph& graph, const OutputPlace& place, const std::string& what,
                                                const std::string& advice);

}  // namespace torchgraft
