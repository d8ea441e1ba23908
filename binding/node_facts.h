// What an operation does beside computing its output, as far as splitting forward must know.
#pragma once

#include <optional>
#include <string>
#include <unordered_set>

#include "graph_paths.h"
#include "torch.h"

namespace torchgraft {

// A Linear (also as matmul) or a convolution: which of its inputs are what it computes on and with.
struct LayerOperands {
  size_t input;
  size_t weight;
};
std::optional<LayerOperands> layerOperands(const torch::jit::Node* node);
// The path of a weight: directly, or where the operand is made of it, as by a cast, a transpose, standardisation or what torchgraft
// puts behind it. nullptr where it is no attribute of the module, or made of several that are no one layer's.
const std::string* weightPath(const Paths& paths, const torch::jit::Value* value);

// Random numbers: a dropout that is known to be off draws none.
bool drawsNumbers(const torch::jit::Node* node);

// A normalisation by the batch's own statistics, which it may add to running ones (its schema does not say so). Weight
// standardisation is none: there it is no batch that is normalised.
bool updatesStatistics(const torch::jit::Node* node, const Paths& paths);

// Takes a number or a decision out of a tensor's values, by which a batch is then treated as a whole. Sizes are none.
bool readsOutNumber(const torch::jit::Node* node);

// Paths of attributes that forward assigns or writes into; of a BatchNorm's running statistics, those of one that can
// only be in training mode, as a traced one.
std::unordered_set<std::string> writtenAttributes(const torch::jit::Graph& graph, const Paths& paths);

}  // namespace torchgraft
