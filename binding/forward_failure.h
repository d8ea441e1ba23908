// Why a model's forward failed, in its own words, and what it does take.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "torch.h"

namespace torchgraft {

class Model;

// Throws Failure("MODEL_FAILED") with the inputs that came, the model's or libtorch's own words, and the line of the
// model's source. With the model it also says what goes through it instead, found by trying: another size, batch, number
// of channels, or no images at all.
[[noreturn]] void refuseForward(const std::vector<at::Tensor>& inputs, const std::exception& error, Model* model = nullptr);

// What the interpreter's text says happened: "ValueError: input must be 96 (line 6 of net.py: raise ValueError(...))".
std::string reasonOf(const std::string& words);

}  // namespace torchgraft
