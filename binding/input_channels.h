// Another number of input channels, by the weights of the convolutions that the input reaches first.
#pragma once

#include "model.h"

namespace torchgraft {

// Of the convolution that the input reaches first; 0 where another kind of layer does, where it has groups, and where the
// input's channels are rearranged before it.
int64_t inputChannelsOf(const torch::jit::Module& module);

// By timm's rule: for one channel the weights of all are summed; for more they are repeated in turn, and scaled by the old
// number over the new, so that what the layer gives keeps its size. Proven by a forward of the example; where that fails the
// model is as it was. Throws Failure("MODEL_FAILED"), Failure("INVALID_VALUE").
void adaptInput(Model& model, int64_t channels, const std::vector<at::Tensor>& example);

}  // namespace torchgraft
