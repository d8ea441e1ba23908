#include "specialise.h"

#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include "graph_paths.h"
#include "list_values.h"
#include "node_facts.h"

namespace torchgraft {

namespace jit = torch::jit;
namespace prim = c10::prim;

void specialise(std::shared_ptr<jit::Graph>& graph, const jit::Module& module) {
  const Paths paths(*graph);
  const auto written = writtenAttributes(*graph, paths);
  std::vector<jit::Node*> reads;
  eachNode(graph->block(), [&](jit::Node* node) {
    const std::string* path = node->kind() == prim::GetAttr ? paths.of(node->output()) : nullptr;
    if (!path || written.count(*path)) return;
    const c10::IValue value = attributeAt(module, *path);
    const bool dynamic = value.isBool() && value.toBool() && node->s(c10::attr::name) == "training";
    if (value.isTensor() || value.isObject() || dynamic) return;
    reads.push_back(node);
  });
  for (jit::Node* node : reads) {
    jit::WithInsertPoint point(node);
    const c10::IValue value = attributeAt(module, *paths.of(node->output()));
    if (auto constant = jit::tryInsertConstant(*graph, value)) node->output()->replaceAllUsesWith(*constant);
  }
  jit::ConstantPropagation(graph);
  replaceAppends(graph);
  jit::EliminateDeadCode(graph);
}

bool holdParameters(std::shared_ptr<jit::Graph>& graph, const jit::Module& module) {
  const Paths paths(*graph);
  std::vector<jit::Node*> reads;
  eachNode(graph->block(), [&](jit::Node* node) {
    const std::string* path = node->kind() == prim::GetAttr ? paths.of(node->output()) : nullptr;
    if (path && !attributeAt(module, *path).isObject()) reads.push_back(node);
  });
  for (jit::Node* node : reads) {
    jit::WithInsertPoint point(node);
    const c10::IValue value = attributeAt(module, *paths.of(node->output()));
    auto constant = jit::tryInsertConstant(*graph, value.isTensor() ? c10::IValue(value.toTensor().detach()) : value);
    if (!constant) return false;
    node->output()->replaceAllUsesWith(*constant);
  }
  jit::EliminateDeadCode(graph);
  if (graph->inputs().at(0)->hasUses()) return false;
  graph->eraseInput(0);
  return true;
}

std::shared_ptr<jit::Graph> forwardInEval(const jit::Module& module) {
  auto graph = inlinedForward(module);
  std::vector<jit::Node*> flags;
  eachNode(graph->block(), [&](jit::Node* node) {
    if (node->kind() == prim::GetAttr && node->s(c10::attr::name) == "training" && node->output()->type() == c10::BoolType::get()) flags.push_back(node);
  });
  for (jit::Node* node : flags) {
    jit::WithInsertPoint point(node);
    node->output()->replaceAllUsesWith(graph->insertConstant(false));
  }
  specialise(graph, module);
  return graph;
}

}  // namespace torchgraft
