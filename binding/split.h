// Splits forward by data flow into a frozen prefix and a trainable suffix.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "torch.h"

namespace torchgraft {

struct Split {
  // Inputs: forward's without self. Outputs: the crossing values. Parameters are constants in it. Null when nothing
  // frozen comes before what learns.
  std::shared_ptr<torch::jit::Graph> prefix;
  // Inputs: self, then the crossing values; where there is no prefix, forward's inputs. Outputs: forward's.
  std::shared_ptr<torch::jit::Graph> suffix;
  // Modules whose parameters each part reads, in forward order.
  std::vector<std::string> prefixLayers;
  std::vector<std::string> suffixLayers;
  // Every crossing value is a tensor, and the prefix takes no number out of a tensor by which it treats a batch as a
  // whole.
  bool tensorsOnly = true;
  // Why there is no prefix, for a person; empty when there is one.
  std::string reason;
  // How many of forward's arguments come in; the others have their defaults.
  size_t given = 0;
};

// Everything that no trainable parameter, no random number and no update of statistics feeds into is the prefix; the
// rest is the suffix. Of branches that meet at the cut, several values cross.
//
// The module must be in train mode as it will be while it learns (Model::setTraining(true)): a `training` flag that is
// off there is taken for a constant, one that is on makes what reads it part of the suffix, in which it stays a read,
// so that the suffix serves training and evaluation.
//
// given: how many of forward's arguments come in.
Split splitForward(const torch::jit::Module& module, size_t given);

// The whole of forward with parameters as constants, without self, for so many arguments. The module must be in eval mode.
// Null when forward assigns attributes or reads one that cannot be a constant.
std::shared_ptr<torch::jit::Graph> freezeForward(const torch::jit::Module& module, size_t given);

}  // namespace torchgraft
