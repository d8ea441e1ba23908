#include "input_channels.h"

#include "failure.h"
#include "grafts.h"
#include "graph_paths.h"
#include "lora.h"
#include "node_facts.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// The path of the convolution that comes first, where it has one group; else ''.
std::optional<std::string> firstConvolution(const jit::Module& module) {
  const auto graph = inlinedForward(module);
  const Paths paths(*graph);
  std::optional<std::string> found;
  bool isOver = false;
  eachNode(graph->block(), [&](const jit::Node* node) {
    const auto operands = isOver ? std::nullopt : layerOperands(node);
    const std::string* weight = operands ? weightPath(paths, node->input(operands->weight)) : nullptr;
    if (!weight) return;
    isOver = true;
    const auto head = headAt(module, parentOf(*weight));
    if (!head || !head->convolution) return;
    const auto* schema = node->maybeSchema();
    const auto groups = schema ? schema->argumentIndexWithName("groups") : std::nullopt;
    const auto count = groups ? jit::toIValue(node->input(*groups)) : std::nullopt;
    const jit::Module layer = submodule(module, parentOf(*weight));
    const bool isWhole = count && count->isInt() ? count->toInt() == 1 : !layer.hasattr("groups") || layer.attr("groups").toInt() == 1;
    if (isWhole) found = parentOf(*weight);
  });
  return found;
}

at::Tensor adapted(const at::Tensor& weight, int64_t channels) {
  const int64_t before = weight.size(1);
  if (channels == before) return weight.clone();
  if (channels == 1) return weight.sum(1, true);
  const int64_t times = (channels + before - 1) / before;
  const double factor = static_cast<double>(before) / static_cast<double>(channels);
  return weight.repeat({1, times, 1, 1}).narrow(1, 0, channels).mul(factor).contiguous();
}

void setChannels(jit::Module layer, const at::Tensor& weight) {
  layer.setattr("weight", weight);
  if (layer.type()->hasAttribute("in_channels") && layer.attr("in_channels").isInt()) layer.setattr("in_channels", weight.size(1));
}

}  // namespace

int64_t inputChannelsOf(const jit::Module& module) {
  const auto layer = firstConvolution(module);
  return layer ? attributeAt(module, weightOf(*layer)).toTensor().size(1) : 0;
}

void adaptInput(Model& model, int64_t channels, const std::vector<at::Tensor>& example) {
  if (!adaptersOf(model.module()).empty()) throw Failure("INVALID_VALUE", "adaptInput: merge the adapters first.");
  const auto path = firstConvolution(model.module());
  if (!path) {
    throw Failure("MODEL_FAILED", "adaptInput: the first layer that forward computes with is no convolution with one group, so its input channels cannot be changed.");
  }
  at::NoGradGuard guard;
  const jit::Module layer = submodule(model.module(), *path);
  const at::Tensor before = layer.attr("weight").toTensor();
  std::vector<std::string> learned = model.trainable();
  const bool trainBatchNorm = model.trainsBatchNorm();
  setChannels(layer, adapted(before.detach(), channels).set_requires_grad(true));
  try {
    model.refresh();
    model.setTrainable(learned, trainBatchNorm);
    model.infer(example);
  } catch (...) {
    setChannels(layer, before);
    model.refresh();
    model.setTrainable(learned, trainBatchNorm);
    throw;
  }
}

}  // namespace torchgraft
