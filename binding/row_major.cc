#include "row_major.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "graph_paths.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

constexpr int64_t kChannels = 16;
// From a convolution's weight back to the parameter that it is made of: adapters, folded normalisations, casts.
constexpr int kFarthest = 12;

const jit::Value* argument(const jit::Node* node, std::string_view name) {
  const auto* schema = node->maybeSchema();
  for (size_t i = 0; schema && i < node->inputs().size(); ++i) {
    if (schema->arguments()[i].name() == name) return node->input(i);
  }
  return nullptr;
}

bool isOne(const jit::Value* value) {
  const auto constant = jit::toIValue(value);
  return constant && constant->isInt() && constant->toInt() == 1;
}

// A list in the graph, or of numbers in it.
bool isOfOnes(const jit::Value* list) {
  if (const auto constant = jit::toIValue(list)) {
    const auto numbers = constant->isIntList() ? constant->toIntVector() : std::vector<int64_t>{0};
    return std::all_of(numbers.begin(), numbers.end(), [](int64_t number) { return number == 1; });
  }
  const auto inputs = list->node()->inputs();
  return list->node()->kind() == c10::prim::ListConstruct && std::all_of(inputs.begin(), inputs.end(), isOne);
}

bool isTwoDimensional(const jit::Node* node) {
  const std::string_view name = node->kind().toQualString();
  return name == "aten::conv2d" || name == "aten::_convolution" || name == "aten::convolution";
}

class Finder {
 public:
  Finder(const jit::Graph& graph, const jit::Module& module) : module_(module), paths_(graph) {}

  // What is not known counts as the worst.
  bool isHit(const jit::Node* node) const {
    if (!isTwoDimensional(node)) return false;
    const jit::Value* stride = argument(node, "stride");
    if (stride && isOfOnes(stride)) return false;
    const jit::Value* groups = argument(node, "groups");
    const auto count = groups ? jit::toIValue(groups) : std::nullopt;
    if (count && count->isInt() && count->toInt() != 1) return false;
    const auto shape = shapeOf(node->input(1), kFarthest);
    if (shape.empty()) return true;
    return shape.size() == 4 && shape[1] < kChannels && shape[2] == 1 && shape[3] == 1;
  }

 private:
  // Of the first image-like parameter that the value is made of; empty where there is none.
  std::vector<int64_t> shapeOf(const jit::Value* value, int depth) const {
    if (const std::string* path = paths_.of(value)) {
      const c10::IValue found = attributeAt(module_, *path);
      return found.isTensor() && found.toTensor().dim() > 2 ? found.toTensor().sizes().vec() : std::vector<int64_t>{};
    }
    if (const auto constant = jit::toIValue(value)) return constant->isTensor() ? constant->toTensor().sizes().vec() : std::vector<int64_t>{};
    if (depth == 0) return {};
    for (const jit::Value* input : value->node()->inputs()) {
      auto shape = shapeOf(input, depth - 1);
      if (shape.size() > 2) return shape;
    }
    return {};
  }

  const jit::Module& module_;
  const Paths paths_;
};

jit::Value* call(jit::Graph& graph, const char* name, jit::Value* value) {
  jit::Value* format = graph.insertConstant(static_cast<int64_t>(at::MemoryFormat::Contiguous));
  jit::Value* made = graph.insertNode(graph.create(c10::Symbol::fromQualString(name), {value, format}))->output();
  made->setType(c10::TensorType::get());
  return made;
}

}  // namespace

int keepRowMajor(jit::Graph& graph, const jit::Module& module) {
  std::vector<jit::Node*> hit;
  const Finder finder(graph, module);
  eachNode(graph.block(), [&](jit::Node* node) {
    if (finder.isHit(node)) hit.push_back(node);
  });
  for (jit::Node* node : hit) {
    jit::WithInsertPoint point(node);
    node->replaceInput(0, call(graph, "aten::contiguous", node->input(0)));
    // A weight of 1x1 is contiguous either way: only a copy has the strides that are looked at.
    node->replaceInput(1, call(graph, "aten::clone", node->input(1)));
  }
  return static_cast<int>(hit.size());
}

}  // namespace torchgraft
