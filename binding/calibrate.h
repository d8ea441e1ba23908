// What 8-bit numbers are to stand for: the ranges of a graph's values, measured on samples.
#pragma once

#include <memory>
#include <vector>

#include "torch.h"

namespace torchgraft {

// A value is (q - zeroPoint) * scale, q being 0 to 255.
struct Range {
  double scale = 1;
  int64_t zeroPoint = 0;
};

// Ranges of these values while the graph runs on the inputs, a few samples at a time. Of each value the range is taken
// whose rounding and clipping cost least, as mean squared error over an even sample of what was seen; zero is always one
// of its numbers. A value that is never negative has zeroPoint 0, so that its relu is in the clipping.
std::vector<Range> calibrate(const std::shared_ptr<torch::jit::Graph>& graph, const std::vector<torch::jit::Value*>& values,
                             const std::vector<at::Tensor>& inputs);

}  // namespace torchgraft
