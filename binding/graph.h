// What forward does, read from its inlined TorchScript graph: the order of layers, and which of them make the output.
#pragma once

#include <string>
#include <vector>

#include "head_search.h"
#include "torch.h"

namespace torchgraft {

struct ForwardFacts {
  // Modules in the order forward uses their parameters or reads their training flag; those that it never uses are not in it.
  std::vector<std::string> sequence;
  // Main ones first.
  std::vector<Head> heads;
  // Where the main output lies in what forward returns.
  OutputPlace mainOutput;
  // Why there is no main head, and what to do, in sentences; empty where there is one.
  std::string headProblem;
  bool traced = false;
  // Traced, with its dropout and BatchNorm fixed to eval.
  bool tracedInEval = false;
  // Attributes that forward assigns or writes into, sorted.
  std::vector<std::string> written;
};

// torch.jit.trace made it, as far as can be told without reading forward. Scripted layers keep constants such as
// in_features, and traced ones none.
bool looksTraced(const torch::jit::Module& module);

ForwardFacts analyseForward(const torch::jit::Module& module, const KnownHeads& known);

// The submodule at a dotted path; '' is the module itself. Throws Failure("NO_HEAD") when there is none.
torch::jit::Module submodule(const torch::jit::Module& module, const std::string& path);

}  // namespace torchgraft
