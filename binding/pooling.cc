#include "pooling.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "failure.h"
#include "grafts.h"
#include "graph_paths.h"
#include "specialise.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace prim = c10::prim;

bool isOneOf(const jit::Node* node, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), node->kind().toQualString()) != names.end();
}

// The two last dimensions of a map [n, c, h, w].
bool isOverSides(const jit::Value* value) {
  std::vector<int64_t> found;
  if (const auto dimensions = jit::toIValue(value); dimensions && dimensions->isIntList()) {
    found = dimensions->toIntVector();
  } else if (value->node()->kind() == prim::ListConstruct) {
    for (const jit::Value* element : value->node()->inputs()) {
      const auto dimension = jit::toIValue(element);
      if (!dimension || !dimension->isInt()) return false;
      found.push_back(dimension->toInt());
    }
  }
  for (int64_t& dimension : found) dimension += dimension < 0 ? 4 : 0;
  std::sort(found.begin(), found.end());
  return found == std::vector<int64_t>{2, 3};
}

struct Pooling {
  // The average of the map, and what the head gets of it.
  jit::Node* average = nullptr;
  // [max, avg] in one tensor; null where there is the average alone.
  jit::Node* concat = nullptr;
  // What flattens it, and may name the number of features.
  std::vector<jit::Node*> views;
};

std::optional<bool> keepsSides(const jit::Node* average) {
  if (isOneOf(average, {"aten::adaptive_avg_pool2d", "aten::avg_pool2d"})) return true;
  if (!isOneOf(average, {"aten::mean"}) || average->inputs().size() < 3 || !isOverSides(average->input(1))) return std::nullopt;
  const auto keep = jit::toIValue(average->input(2));
  return keep && keep->isBool() ? std::optional<bool>(keep->toBool()) : std::nullopt;
}

// torch.cat([torch.amax(map, [2, 3]), average of map], 1)
jit::Node* averageOfConcat(const jit::Node* node) {
  if (!isOneOf(node, {"aten::cat"}) || node->input(0)->node()->kind() != prim::ListConstruct) return nullptr;
  const auto parts = node->input(0)->node()->inputs();
  if (parts.size() != 2 || !isOneOf(parts[0]->node(), {"aten::amax"}) || !keepsSides(parts[1]->node())) return nullptr;
  return parts[0]->node()->input(0) == parts[1]->node()->input(0) ? parts[1]->node() : nullptr;
}

// Back through what neither computes with weights nor changes the order of features.
Pooling findPooling(const jit::Value* value) {
  jit::Node* node = const_cast<jit::Node*>(value->node());
  if (node->kind() == prim::If) {
    for (const jit::Block* block : node->blocks()) {
      const Pooling found = findPooling(block->outputs().at(value->offset()));
      if (found.average) return found;
    }
    return {};
  }
  if (jit::Node* average = averageOfConcat(node)) return {average, node, {}};
  if (keepsSides(node)) return {node, nullptr, {}};
  const jit::Value* source = rearrangedBy(node);
  if (!source) return {};
  Pooling found = findPooling(source);
  if (isOneOf(node, {"aten::view", "aten::reshape"})) found.views.push_back(node);
  return found;
}

// x.view(-1, features) names a number of features that is no longer right.
void setFeatures(jit::Graph& graph, jit::Node* view, int64_t before, int64_t now) {
  jit::WithInsertPoint point(view);
  jit::Node* sizes = view->input(1)->node();
  if (const auto constant = jit::toIValue(view->input(1)); constant && constant->isIntList()) {
    std::vector<int64_t> list = constant->toIntVector();
    if (list.size() < 2 || list[1] != before) return;
    list[1] = now;
    view->replaceInput(1, graph.insertConstant(list));
    return;
  }
  if (sizes->kind() != prim::ListConstruct || sizes->inputs().size() < 2) return;
  const auto count = jit::toIValue(sizes->input(1));
  if (!count || !count->isInt() || count->toInt() != before) return;
  std::vector<jit::Value*> list(sizes->inputs().begin(), sizes->inputs().end());
  list[1] = graph.insertConstant(now);
  view->replaceInput(1, graph.insertNode(graph.createList(c10::IntType::get(), list))->output());
}

jit::Value* insertConcat(jit::Graph& graph, jit::Node* average) {
  jit::WithInsertPoint point(average->next());
  jit::Value* sides = graph.insertConstant(std::vector<int64_t>{2, 3});
  jit::Value* keep = graph.insertConstant(*keepsSides(average));
  const auto insert = [&](const char* kind, std::vector<jit::Value*> inputs) {
    jit::Value* output = graph.insertNode(graph.create(c10::Symbol::fromQualString(kind), inputs))->output();
    output->setType(c10::TensorType::get());
    return output;
  };
  jit::Value* largest = insert("aten::amax", {average->input(0), sides, keep});
  jit::Value* parts = graph.insertNode(graph.createList(c10::TensorType::get(), {largest, average->output()}))->output();
  return insert("aten::cat", {parts, graph.insertConstant(1)});
}

}  // namespace

const jit::Value* rearrangedBy(const jit::Node* node) {
  const bool passes = isOneOf(node, {"aten::flatten", "aten::view", "aten::reshape", "aten::squeeze", "aten::dropout", "aten::dropout_",
                                     "aten::feature_dropout", "aten::contiguous", "aten::div", "aten::sub"});
  return passes ? node->input(0) : nullptr;
}

std::optional<PooledMap> pooledBefore(const jit::Value* value) {
  const Pooling found = findPooling(value);
  if (!found.average) return std::nullopt;
  jit::Node* first = found.average;
  if (found.concat) {
    jit::Node* largest = found.concat->input(0)->node()->input(0)->node();
    if (largest->isBefore(first)) first = largest;
  }
  return PooledMap{found.average->input(0), first};
}

std::string poolingBefore(const jit::Value* input) {
  const Pooling found = findPooling(input);
  if (!found.average) return "";
  return found.concat ? "concat" : "avg";
}

std::string poolingOf(const jit::Module& module, const std::string& layer) {
  const auto graph = inlinedForward(module);
  const auto uses = usesOf(*graph, Paths(*graph), layer);
  return uses.empty() ? "" : poolingBefore(uses[0].node->input(uses[0].input));
}

void setConcatPooling(jit::Module& module, const Head& head, bool concat) {
  const auto graph = flattenForward(module);
  const auto uses = usesOf(*graph, Paths(*graph), head.module);
  const Pooling found = uses.empty() ? Pooling{} : findPooling(uses[0].node->input(uses[0].input));
  if (!found.average) {
    throw Failure("NO_HEAD", "No average pooling of a whole map comes right before '" + head.module + "' (adaptive_avg_pool2d, avg_pool2d, or mean over height and width), so `pooling` cannot be chosen. Leave it out.");
  }
  if (concat == (found.concat != nullptr)) return;
  for (jit::Node* view : found.views) setFeatures(*graph, view, head.inFeatures, concat ? 2 * head.inFeatures : head.inFeatures / 2);
  if (concat) {
    jit::Value* both = insertConcat(*graph, found.average);
    found.average->output()->replaceAllUsesAfterNodeWith(both->node(), both);
  } else {
    found.concat->output()->replaceAllUsesWith(found.average->output());
    jit::EliminateDeadCode(graph);
  }
}

}  // namespace torchgraft
