// Replacing the classifying layer: the graft.
#pragma once

#include <string>
#include <vector>

#include "cosine.h"
#include "model.h"

namespace torchgraft {

struct HeadRequest {
  // Path of the layer to replace; '' finds it.
  std::string layer;
  int64_t classes = 0;
  uint64_t seed = 0;
  // Widths of hidden layers; empty for one Linear (or 1x1 convolution).
  std::vector<int64_t> hidden;
  double dropout = 0;
  // A fixed layer (x - mean) / std comes before the new layer.
  bool standardise = false;
  // A cosine head in place of a Linear one.
  std::optional<CosineOptions> cosine;
  // 'avg' or 'concat': how the map before the head is pooled; '' leaves that as it is.
  std::string pooling;
  // 'pooled', 'classToken' or 'both': a classifier is appended to a network without one, on these features; '' replaces one.
  std::string append;
  // Inputs for the dry forward that proves the new head.
  std::vector<at::Tensor> example;
};

struct NewHead {
  std::vector<std::string> parameters;
  std::vector<std::string> layers;
  // Path of the layer that standardises the main head's input; empty without one, and where there are several main heads.
  std::string standardiser;
  // What made probabilities of the old head's outputs and was taken out: `softmax`, `sigmoid`.
  std::vector<std::string> cut;
};

// Everything else stays bit-identical; a standardiser that fed the old head goes with it, and so does a softmax or sigmoid behind it. When the dry forward fails, the model is as it was before.
NewHead replaceHead(Model& model, const HeadRequest& request);

}  // namespace torchgraft
