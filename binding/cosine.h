// A cosine head: scale * x / |x| . w / |w| for each class, without a bias (Gidaris and Komodakis 2018; CosFace, Wang et al.
// 2018). The layer stays where it is; what it computes on and with is normalised.
#pragma once

#include <string>

#include "model.h"

namespace torchgraft {

struct CosineOptions {
  double scale = 20;
  bool learnsScale = true;
};

// This layer computes with normalised rows of its weight.
bool hasCosine(const torch::jit::Module& module, const std::string& layer);

// Both change the graph of forward, so the module must not have run: it must be a copy, and copied again before it runs.
// A bias that the layer has is not used meanwhile. Where there is none to remove, nothing happens.
void removeCosine(torch::jit::Module& module, const std::string& layer);
// The name of the scale. Throws Failure("NO_HEAD") for a layer that is no Linear or 1x1 convolution as forward uses it.
std::string addCosine(torch::jit::Module& module, const Head& head, const CosineOptions& options);

// A layer of its own [outputs, in features], which owns its weight.
torch::jit::Module makeCosineLayer(const torch::jit::Module& model, const at::Tensor& weight, const CosineOptions& options);

}  // namespace torchgraft
