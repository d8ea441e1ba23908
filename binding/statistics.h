// BatchNorm statistics measured on other images than those the network was trained on.
#pragma once

#include <cstdint>
#include <vector>

#include "model.h"

namespace torchgraft {

// One batch through the network in eval mode, except that BatchNorm normalises with the batch's own statistics, as in
// training. The running ones become the mean of those of the `before` batches so far and of this one, each batch counting
// the same: what PyTorch's BatchNorm with momentum=None keeps. With `before` 0 what was kept is forgotten. Weights stay as
// they are. Throws Failure("NOT_TRAINABLE") where there is no BatchNorm that can be measured, and Failure("MODEL_FAILED")
// where forward fails or a statistic is not finite: nothing has changed then.
void estimateStatistics(Model& model, const std::vector<at::Tensor>& inputs, int64_t before);

}  // namespace torchgraft
