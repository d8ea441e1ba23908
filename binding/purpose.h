// What torchgraft is for, said to who brings a model of another kind.
#pragma once

#include <string>

#include "torch.h"

namespace torchgraft {

class Model;

// A sentence of what the model takes or gives instead of images and scores, and of what torchgraft is for; empty for a model
// whose forward takes tensors and returns one, or a tuple that begins with one, or has a head.
std::string otherPurpose(Model& model);

// The same about a tensor that it returned; empty for scores [n, classes].
std::string otherOutput(const at::Tensor& output);

// "torchgraft fine-tunes image classifiers: ..."
std::string purpose();

}  // namespace torchgraft
