#include "input_channels.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "failure.h"
#include "grafts.h"
#include "graph_paths.h"
#include "lora.h"
#include "node_facts.h"
#include "specialise.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// Gives as many channels as it takes, of the same meaning.
bool keepsChannels(const jit::Node* node) {
  static constexpr std::array<std::string_view, 38> kNames{
      "add",     "sub",        "rsub",         "mul",        "div",       "neg",     "clamp",      "clamp_min",          "clamp_max",         "to",
      "type_as", "contiguous", "clone",        "detach",     "alias",     "pad",     "constant_pad_nd", "reflection_pad2d", "replication_pad2d", "relu",
      "sigmoid", "tanh",       "dropout",      "batch_norm", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "instance_norm", "group_norm", "upsample_nearest2d",
      "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "float", "expand", "sqrt", "pow"};
  std::string_view name = node->kind().toQualString();
  if (name.substr(0, 6) != "aten::") return node->kind() == c10::prim::unchecked_cast || node->kind() == c10::prim::If;
  name.remove_prefix(6);
  if (name.size() > 1 && name.back() == '_') name.remove_suffix(1);
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

// The layers that forward's first input reaches before any other, in order.
class FirstLayers {
 public:
  explicit FirstLayers(const jit::Module& module)
      : module_(module), graph_(settled(*openForward(module, usualArguments(module)), false)), paths_(*graph_) {
    if (graph_->inputs().size() > 1) reached_.emplace(graph_->inputs().at(1), true);
    follow(graph_->block());
  }

  // Paths of convolutions with one group that take the input's own channels; empty where another kind of layer comes first.
  std::vector<std::string> convolutions() const { return isOther_ ? std::vector<std::string>{} : found_; }

 private:
  void follow(const jit::Block* block) {
    for (const jit::Node* node : block->nodes()) {
      for (const jit::Block* inner : node->blocks()) follow(inner);
      visit(node);
    }
  }

  void visit(const jit::Node* node) {
    std::vector<const jit::Value*> inputs(node->inputs().begin(), node->inputs().end());
    for (const jit::Block* block : node->blocks()) inputs.insert(inputs.end(), block->outputs().begin(), block->outputs().end());
    bool isReached = false;
    bool isSame = keepsChannels(node);
    for (const jit::Value* input : inputs) {
      // Sizes of the input tell nothing of channels.
      if (!input->type()->isSubtypeOf(*c10::TensorType::get())) continue;
      const auto found = reached_.find(input);
      if (found == reached_.end()) continue;
      isReached = true;
      isSame = isSame && found->second;
    }
    if (!isReached) return;
    if (const auto operands = layerOperands(node); operands && reached_.count(node->input(operands->input))) {
      add(node, reached_.at(node->input(operands->input)));
      return;
    }
    for (const jit::Value* output : node->outputs()) reached_.emplace(output, isSame);
  }

  void add(const jit::Node* node, bool isSame) {
    const std::string* weight = weightPath(paths_, node->input(layerOperands(node)->weight));
    const auto layer = weight ? headAt(module_, parentOf(*weight)) : std::nullopt;
    if (!isSame || !layer || !layer->convolution || !hasOneGroup(node)) {
      // Whatever comes behind a convolution that was found does not matter.
      isOther_ = isOther_ || found_.empty();
      return;
    }
    if (std::find(found_.begin(), found_.end(), layer->module) == found_.end()) found_.push_back(layer->module);
  }

  static bool hasOneGroup(const jit::Node* node) {
    const auto* schema = node->maybeSchema();
    const auto groups = schema ? schema->argumentIndexWithName("groups") : std::nullopt;
    const auto count = groups ? jit::toIValue(node->input(*groups)) : std::nullopt;
    return count && count->isInt() && count->toInt() == 1;
  }

  const jit::Module& module_;
  std::shared_ptr<jit::Graph> graph_;
  Paths paths_;
  // Made of the input without a layer between; whether its channels are the input's.
  std::unordered_map<const jit::Value*, bool> reached_;
  std::vector<std::string> found_;
  bool isOther_ = false;
};

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
  const auto layers = FirstLayers(module).convolutions();
  return layers.empty() ? 0 : attributeAt(module, weightOf(layers[0])).toTensor().size(1);
}

void adaptInput(Model& model, int64_t channels, const std::vector<at::Tensor>& example) {
  if (!adaptersOf(model.module()).empty()) throw Failure("INVALID_VALUE", "adaptInput: merge the adapters first.");
  const auto paths = FirstLayers(model.module()).convolutions();
  if (paths.empty()) {
    throw Failure("MODEL_FAILED", "adaptInput: the layer that the input reaches first is no convolution with one group that takes the input's own channels, so they cannot be changed.");
  }
  at::NoGradGuard guard;
  std::vector<std::pair<jit::Module, at::Tensor>> before;
  for (const std::string& path : paths) {
    const jit::Module layer = submodule(model.module(), path);
    before.emplace_back(layer, layer.attr("weight").toTensor());
  }
  std::vector<std::string> learned = model.trainable();
  const bool trainBatchNorm = model.trainsBatchNorm();
  for (const auto& [layer, weight] : before) setChannels(layer, adapted(weight.detach(), channels).set_requires_grad(true));
  try {
    model.refresh();
    model.setTrainable(learned, trainBatchNorm);
    model.infer(example);
  } catch (...) {
    for (const auto& [layer, weight] : before) setChannels(layer, weight);
    model.refresh();
    model.setTrainable(learned, trainBatchNorm);
    throw;
  }
}

}  // namespace torchgraft
