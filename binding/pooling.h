// The pooling of the last map of features before a head: by its average, or by its maximum and average side by side, as
// fastai's AdaptiveConcatPool2d does.
#pragma once

#include <optional>
#include <string>

#include "graph.h"
#include "torch.h"

namespace torchgraft {

// 'avg', 'concat', or '' where no pooling of a whole map comes right before what this node computes on.
std::string poolingBefore(const torch::jit::Value* input);
// Of the layer at this path.
std::string poolingOf(const torch::jit::Module& module, const std::string& layer);

// A map of features [n, c, h, w], and the first operation that pools it.
struct PooledMap {
  torch::jit::Value* map;
  torch::jit::Node* user;
};
// The map whose pooling gives this value; empty where no pooling of a whole map comes right before it.
std::optional<PooledMap> pooledBefore(const torch::jit::Value* value);
// What a node takes that neither computes with weights nor changes the order of features; nullptr for any other node.
const torch::jit::Value* rearrangedBy(const torch::jit::Node* node);

// Both change the graph of forward, so the module must not have run: it must be a copy, and copied again before it runs.
// `concat` makes the layer's input [max, avg], twice as many features; else it makes it avg alone.
// Throws Failure("NO_HEAD") where there is no pooling.
void setConcatPooling(torch::jit::Module& module, const Head& head, bool concat);

}  // namespace torchgraft
