#include "node_facts.h"

#include <ATen/core/enum_tag.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "grafts.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// The constant that an operation is given under this name.
std::optional<c10::IValue> constantNamed(const jit::Node* node, std::string_view name) {
  const auto* schema = node->maybeSchema();
  for (size_t i = 0; schema && i < node->inputs().size() && i < schema->arguments().size(); ++i) {
    if (schema->arguments()[i].name() == name) return jit::toIValue(node->input(i));
  }
  return std::nullopt;
}

bool isOff(const jit::Node* node, std::string_view name) {
  const auto value = constantNamed(node, name);
  return value && value->isBool() && !value->toBool();
}

// Made of sizes and constants alone: traced models keep sizes in tensors.
bool isOfSizes(const jit::Node* node) {
  const auto kind = node->kind();
  if (kind == c10::prim::NumToTensor || kind == c10::prim::Constant) return true;
  if (node->inputs().empty() || !node->blocks().empty()) return false;
  return std::all_of(node->inputs().begin(), node->inputs().end(), [](const jit::Value* value) { return isOfSizes(value->node()); });
}

}  // namespace

std::optional<LayerOperands> layerOperands(const jit::Node* node) {
  static constexpr std::array<std::string_view, 5> kNames{"aten::linear", "aten::matmul", "aten::mm", "aten::conv2d", "aten::_convolution"};
  const std::string_view name = node->kind().toQualString();
  if (std::find(kNames.begin(), kNames.end(), name) != kNames.end()) return LayerOperands{0, 1};
  // The bias comes first.
  if (name == "aten::addmm") return LayerOperands{1, 2};
  return std::nullopt;
}

const std::string* weightPath(const Paths& paths, const jit::Value* value) {
  const auto* sources = paths.sourcesOf(value);
  if (!sources || sources->empty()) return nullptr;
  if (sources->size() == 1) return &sources->front();
  // Standardised ones have a gain of the same layer.
  const std::string owner = parentOf(sources->front());
  const std::string* found = nullptr;
  for (const std::string& path : *sources) {
    if (parentOf(path) != owner) return nullptr;
    if (path == weightOf(owner)) found = &path;
  }
  return found;
}

bool drawsNumbers(const jit::Node* node) {
  const auto* schema = node->maybeSchema();
  const auto operation = schema ? c10::Dispatcher::singleton().findOp(schema->operator_name()) : std::nullopt;
  if (!operation || !operation->hasTag(at::Tag::nondeterministic_seeded)) return node->isNondeterministic();
  if (isOff(node, "train") || isOff(node, "training")) return false;
  const auto share = constantNamed(node, "dropout_p");
  return !(share && share->isDouble() && share->toDouble() == 0);
}

bool updatesStatistics(const jit::Node* node, const Paths& paths) {
  const std::string_view name = node->kind().toQualString();
  if (name != "aten::batch_norm" && name != "aten::native_batch_norm" && name != "aten::cudnn_batch_norm") return false;
  const bool isOfWeight = paths.sourcesOf(node->input(0)) && node->input(3)->mustBeNone();
  return !isOfWeight && !isOff(node, "training");
}

bool readsOutNumber(const jit::Node* node) {
  static constexpr std::array<std::string_view, 10> kNames{
      "aten::item",   "aten::Bool",       "aten::Int",    "aten::Float", "aten::IntImplicit", "aten::FloatImplicit", "aten::ScalarImplicit",
      "aten::tolist", "aten::is_nonzero", "aten::equal"};
  if (std::find(kNames.begin(), kNames.end(), node->kind().toQualString()) == kNames.end()) return false;
  return std::any_of(node->inputs().begin(), node->inputs().end(), [](const jit::Value* value) {
    return value->type()->isSubtypeOf(*c10::TensorType::get()) && !isOfSizes(value->node());
  });
}

std::unordered_set<std::string> writtenAttributes(const jit::Graph& graph, const Paths& paths) {
  std::unordered_set<std::string> written;
  const auto add = [&](const std::string* path) {
    if (path) written.insert(*path);
  };
  eachNode(graph.block(), [&](const jit::Node* node) {
    if (node->kind() == c10::prim::SetAttr) {
      if (const std::string* owner = paths.of(node->input(0))) {
        const std::string& name = node->s(c10::attr::name);
        written.insert(owner->empty() ? name : *owner + "." + name);
      }
      return;
    }
    const auto* schema = node->maybeSchema();
    if (!schema) return;
    const auto isOn = constantNamed(node, "training");
    const bool updates = updatesStatistics(node, paths) && isOn && isOn->isBool();
    for (size_t i = 0; i < node->inputs().size() && i < schema->arguments().size(); ++i) {
      const auto& argument = schema->arguments()[i];
      const bool isRunning = updates && argument.name().find("running_") == 0;
      if (isRunning || (argument.alias_info() && argument.alias_info()->isWrite())) add(paths.of(node->input(i)));
    }
  });
  return written;
}

}  // namespace torchgraft
