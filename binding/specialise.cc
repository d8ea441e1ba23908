#include "specialise.h"

#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <functional>

#include "graph_paths.h"
#include "list_values.h"
#include "node_facts.h"

namespace torchgraft {

namespace jit = torch::jit;
namespace prim = c10::prim;

namespace {

bool isFlag(const jit::Node* read) {
  return read->s(c10::attr::name) == "training" && read->output()->type() == c10::BoolType::get();
}

void foldConstants(std::shared_ptr<jit::Graph>& graph) {
  jit::ConstantPropagation(graph);
  replaceAppends(graph);
  jit::EliminateDeadCode(graph);
}

// Reads of attributes that forward does not write become constants, where `isFixed` says so.
void fixAttributes(jit::Graph& graph, const jit::Module& module, const std::function<bool(const jit::Node* read, const c10::IValue& value)>& isFixed) {
  const Paths paths(graph);
  const auto written = writtenAttributes(graph, paths);
  std::vector<jit::Node*> reads;
  eachNode(graph.block(), [&](jit::Node* node) {
    const std::string* path = node->kind() == prim::GetAttr ? paths.of(node->output()) : nullptr;
    if (path && !written.count(*path) && isFixed(node, attributeAt(module, *path))) reads.push_back(node);
  });
  for (jit::Node* node : reads) {
    jit::WithInsertPoint point(node);
    const c10::IValue value = attributeAt(module, *paths.of(node->output()));
    if (auto constant = jit::tryInsertConstant(graph, value)) node->output()->replaceAllUsesWith(*constant);
  }
}

// `staysRead` says whether a flag that is on, or off, does not become a constant.
void specialise(std::shared_ptr<jit::Graph>& graph, const jit::Module& module, const std::function<bool(bool isOn)>& staysRead) {
  fixAttributes(*graph, module, [&](const jit::Node* read, const c10::IValue& value) {
    return !value.isTensor() && !value.isObject() && !(isFlag(read) && staysRead(value.toBool()));
  });
  foldConstants(graph);
}

}  // namespace

void specialise(std::shared_ptr<jit::Graph>& graph, const jit::Module& module) {
  specialise(graph, module, [](bool isOn) { return isOn; });
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

void holdDefaults(std::shared_ptr<jit::Graph>& graph, const jit::Module& module, size_t given) {
  // The schema counts self; the graph may have none any more.
  const auto& arguments = module.get_method("forward").function().getSchema().arguments();
  const size_t most = arguments.size() - 1;
  const size_t self = graph->inputs().size() - most;
  for (size_t i = most; i-- > given;) {
    const auto& value = arguments.at(i + 1).default_value();
    if (!value) return;
    jit::WithInsertPoint point(graph->block()->param_node()->next());
    graph->inputs().at(self + i)->replaceAllUsesWith(graph->insertConstant(*value));
    graph->eraseInput(self + i);
  }
}

std::shared_ptr<jit::Graph> flattenForward(jit::Module& module) {
  auto graph = module.get_method("forward").graph();
  inlineCalls(*graph);
  // Numbers may be another head's soon.
  fixAttributes(*graph, module, [](const jit::Node* read, const c10::IValue& value) {
    return (value.isBool() && !isFlag(read)) || value.isString() || value.isNone();
  });
  jit::ConstantPropagationImmutableTypes(graph);
  jit::EliminateDeadCode(graph);
  return graph;
}

size_t usualArguments(const jit::Module& module) {
  const auto& arguments = module.get_method("forward").function().getSchema().arguments();
  const auto isRequired = [](const c10::Argument& argument) { return !argument.default_value(); };
  return std::max<size_t>(1, std::count_if(arguments.begin() + 1, arguments.end(), isRequired));
}

std::shared_ptr<jit::Graph> openForward(const jit::Module& module, size_t given) {
  auto graph = inlinedForward(module);
  holdDefaults(graph, module, given);
  specialise(graph, module, [](bool) { return true; });
  return graph;
}

std::shared_ptr<jit::Graph> settled(jit::Graph& open, bool training) {
  auto graph = open.copy();
  std::vector<jit::Node*> flags;
  eachNode(graph->block(), [&](jit::Node* node) {
    if (node->kind() == prim::GetAttr && isFlag(node)) flags.push_back(node);
  });
  for (jit::Node* node : flags) {
    jit::WithInsertPoint point(node);
    node->output()->replaceAllUsesWith(graph->insertConstant(training));
  }
  foldConstants(graph);
  return graph;
}

}  // namespace torchgraft
