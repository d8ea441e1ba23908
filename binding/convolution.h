// What a frozen graph's convolutions are, and what can be computed within them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Two-dimensional, of constant weights.
struct Convolution {
  torch::jit::Node* node;
  at::Tensor weight;
  std::optional<at::Tensor> bias;
  std::vector<int64_t> stride, padding, dilation;
  int64_t groups;
};

// oneDNN's name of an activation, and its numbers.
struct Activation {
  std::string name = "none";
  std::vector<double> scalars;
};

std::optional<Convolution> readConvolution(torch::jit::Node* node);

// relu, relu6, hardtanh, hardswish, silu, sigmoid, tanh, leaky_relu, in place or not.
std::optional<Activation> readActivation(const torch::jit::Node* node);

// Of two tensors, neither of them scaled.
bool isSum(const torch::jit::Node* node);

// The one node that uses a value; none where several do.
torch::jit::Node* onlyUser(const torch::jit::Value* value);

// The node in the same block that alone uses `last`, so that it can be computed together with it.
torch::jit::Node* follower(const torch::jit::Node* last);

}  // namespace torchgraft
