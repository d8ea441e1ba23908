// Low-rank adapters (LoRA, Hu et al. 2021): a layer computes with W + scale * B A in place of its frozen weight W, where B
// is [out, rank] and A [rank, in]. A convolution's weight is taken as the matrix [out, in / groups * height * width], so that
// the update is a convolution to rank channels and a 1 x 1 one, as in PEFT; loralib's ConvLoRA divides it otherwise.
#pragma once

#include <string>
#include <vector>

#include "model.h"

namespace torchgraft {

struct AdapterRequest {
  // Paths of layers that may have one. Those that are neither Linear nor Conv2d, and those whose adapter would have as many
  // numbers as the weight or more, have none.
  std::vector<std::string> layers;
  int64_t rank = 0;
  double scale = 1;
  uint64_t seed = 0;
};

struct Adapter {
  std::string layer;
  int64_t rank = 0;
  double scale = 1;
  // Of the module that owns lora_A and lora_B.
  std::string path;
};

// In the order they were asked for; empty without any.
std::vector<Adapter> adaptersOf(const torch::jit::Module& module);

// Layers that share one weight share one adapter. A is drawn from Kaiming's uniform distribution, B is 0, so that forward gives what it gave. They learn from now on;
// what else learns stays so. Throws Failure("INVALID_VALUE") when no layer can have one, or the model has adapters;
// it is as it was then.
void addAdapters(Model& model, const AdapterRequest& request);

// W becomes W + scale * B A, and the adapters are gone. Without any, nothing happens.
void mergeAdapters(Model& model);

// As Model::save of a model whose adapters are merged; this one keeps them apart.
void saveMerged(Model& model, const std::string& path, const ExtraFiles& extra);

}  // namespace torchgraft
