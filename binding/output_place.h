#pragma once

#include <string>
#include <vector>

namespace torchgraft {

// Where a tensor lies in what forward returns: the index in a tuple or list, the key of a dict, from the outermost to the
// innermost; empty where forward returns one tensor.
using OutputPlace = std::vector<std::string>;

}  // namespace torchgraft
