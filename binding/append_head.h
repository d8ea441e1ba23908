// A classifier behind a network that has none: of what that returns, features are taken and a new Linear follows.
#pragma once

#include <cstdint>
#include <string>

#include "model.h"

namespace torchgraft {

// Whether these are features that a classifier can be appended on. 'pooled' is the mean of a map [n, c, h, w] over its places, of tokens
// [n, t, c] over all of them, or rows [n, c] as they are; 'classToken' is the first token; 'both' is that beside the mean of the others.
bool isAppendable(const std::string& features);

// The features that the model's classifier takes, where one was appended here or before it was saved; '' where none was.
std::string appendedFeatures(const torch::jit::Module& module, const std::string& layer);

// Puts it behind the main output and makes it the only head. Changes the graph of forward, so the module must be a copy that has not
// run, and copied again before it runs. `output` is what the model returns of an example.
// Throws Failure("NO_HEAD") where that has no such features, or forward does not make it at its end.
Head appendHead(Model& model, const std::string& features, const at::Tensor& output, int64_t classes);

}  // namespace torchgraft
