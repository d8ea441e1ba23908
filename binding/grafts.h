// What torchgraft puts between a layer's weight and the operation that uses it, and how it is recognised in an inlined
// graph: a low-rank update is added to the weight, or its rows are normalised and scaled.
#pragma once

#include <string>
#include <vector>

#include "graph_paths.h"
#include "torch.h"

namespace torchgraft {

// Where a layer's weight meets its input.
struct WeightUse {
  torch::jit::Node* node;
  // Which of the node's inputs is what the layer computes on, and which the weight.
  size_t input;
  size_t weight;
};

// weight + scale * (lora_B lora_A): a sum made by an adapter.
bool isLowRankSum(const torch::jit::Node* node);
// scale * weight / |weight| by rows: a product made by a cosine head.
bool isCosineProduct(const torch::jit::Node* node);
// The weight itself, where the value is made of one by the two above; else the value.
const torch::jit::Value* bareWeight(const torch::jit::Value* value);
// The value that a layer's weight operand is, without its transpose.
const torch::jit::Value* untransposed(const torch::jit::Value* value);

// Every use of the weight of the layer at this path, in order.
std::vector<WeightUse> usesOf(torch::jit::Graph& graph, const Paths& paths, const std::string& layer);

// Behind every read of the tensor at `path`, under whatever name, comes a call of the module's descendant at `child`, and
// whoever used the tensor uses the result. Returns the number of reads.
size_t wrapReads(torch::jit::Graph& graph, const torch::jit::Module& module, const std::string& path, const std::string& child);

// Reads self's attribute at a dotted path, at the graph's insert point.
torch::jit::Value* insertRead(torch::jit::Graph& graph, const std::string& path);

// `a.weight` of layer `a`; `weight` of the model itself.
std::string weightOf(const std::string& layer);

}  // namespace torchgraft
