// A classifier behind a network that has none: of what that returns, features are taken and a new Linear follows.
#pragma once

#include <cstdint>
#include <string>

#include "model.h"

namespace torchgraft {

// Of a map [n, c, h, w] its mean over the places; of tokens [n, t, c] the mean over all of them, the first one, or the first beside
// the mean of the others; of rows [n, c] the row.
bool isAppendable(const std::string& features);  // 'pooled', 'classToken', 'both'

// The features that the model's classifier takes, where one was appended here or before it was saved; '' where none was.
std::string appendedFeatures(const torch::jit::Module& module, const std::string& layer);

// Puts it behind the main output and makes it the only head. Changes the graph of forward, so the module must be a copy that has not
// run, and copied again before it runs. `output` is what the model returns of an example.
// Throws Failure("NO_HEAD") where that has no such features, or forward does not make it at its end.
Head appendHead(Model& model, const std::string& features, const at::Tensor& output, int64_t classes);

}  // namespace torchgraft
