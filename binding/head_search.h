// Which layers classify: the heads of what forward returns.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "output_place.h"
#include "torch.h"

namespace torchgraft {

// A Linear or Conv2d whose output becomes logits without passing another layer with parameters.
struct Head {
  std::string module;
  bool convolution = false;
  int64_t inFeatures = 0;
  int64_t outFeatures = 0;
  bool hasBias = false;
  // Auxiliary heads are those of logits that help to train, as in Inception; the others make the main output. Several main
  // heads are added up or averaged, as in distilled DeiT.
  bool isAuxiliary = false;
  // Which of the tensors that forward returns it makes, and where that lies.
  int output = 0;
  OutputPlace place;
  // It computes with normalised inputs and rows of its weight.
  bool cosine = false;
  // How the map before it is pooled: 'avg', 'concat', or '' where no pooling comes right before it.
  std::string pooling;
  // Operations between it and the output, in order, but for those that only rearrange, cast or drop.
  std::vector<std::string> after;
};

// Heads that are known, by their layers' paths.
struct KnownHeads {
  std::vector<std::string> main;
  // Empty where they are not known, so that they are looked for.
  std::optional<std::vector<std::string>> auxiliary;
};

struct FoundHeads {
  // Main ones first.
  std::vector<Head> heads;
  // Where the main output lies.
  OutputPlace place;
  // Why no main head was found, for a person; empty where one was.
  std::string problem;
};

// A layer as a possible head; empty when it is no Linear (weight of 2 dimensions) or Conv2d (4).
std::optional<Head> headAt(const torch::jit::Module& module, const std::string& path);

// The main output is the one called logits or alike, else the first that a head makes, and nothing of which is an input of
// another's head. A layer is an auxiliary head where it makes as many outputs as the main head in an output that is there in
// training alone, or whose name or layer is called auxiliary: what else a network may return, features, maps and indices, is
// no head, however wide it is.
//
// open: of openForward().
FoundHeads findHeads(const torch::jit::Module& module, torch::jit::Graph& open, const KnownHeads& known);

}  // namespace torchgraft
