// What forward does, read from its inlined TorchScript graph: the order of layers, and which of them make the output.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "torch.h"

namespace torchgraft {

// A layer whose output reaches the model's output without passing another layer with parameters.
struct Head {
  std::string module;
  bool convolution = false;
  int64_t inFeatures = 0;
  int64_t outFeatures = 0;
  bool hasBias = false;
  // Element of the output tuple it feeds; 0 when the output is one tensor.
  int output = 0;
  // It computes with normalised inputs and rows of its weight.
  bool cosine = false;
  // How the map before it is pooled: 'avg', 'concat', or '' where no pooling comes right before it.
  std::string pooling;
};

struct ForwardFacts {
  // Modules in the order forward uses their parameters or reads their training flag.
  std::vector<std::string> sequence;
  std::vector<Head> heads;
  bool traced = false;
  // Traced, with its dropout and BatchNorm fixed to eval.
  bool tracedInEval = false;
  // Attributes that forward assigns or writes into, sorted.
  std::vector<std::string> written;
};

// torch.jit.trace made it, as far as can be told without reading forward. Scripted layers keep constants such as
// in_features, and traced ones none.
bool looksTraced(const torch::jit::Module& module);

ForwardFacts analyseForward(const torch::jit::Module& module);

// The submodule at a dotted path; '' is the module itself. Throws Failure("NO_HEAD") when there is none.
torch::jit::Module submodule(const torch::jit::Module& module, const std::string& path);

// A layer as a possible head; empty when it is no Linear (weight of 2 dimensions) or Conv2d (4).
std::optional<Head> headAt(const torch::jit::Module& module, const std::string& path);

}  // namespace torchgraft
