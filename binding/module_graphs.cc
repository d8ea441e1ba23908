#include "module_graphs.h"

#include <torch/csrc/jit/api/function_impl.h>

#include <unordered_set>

#include "graph_paths.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

class Collector {
 public:
  void add(jit::Function* function) {
    auto* graphFunction = jit::tryToGraphFunction(*function);
    if (!graphFunction || !seen_.insert(function).second) return;
    graphs.push_back(graphFunction->graph().get());
    eachNode(graphs.back()->block(), [this](const jit::Node* node) {
      if (node->kind() != c10::prim::CallFunction) return;
      if (const auto type = node->input(0)->type()->cast<c10::FunctionType>()) add(type->function());
    });
  }

  std::vector<jit::Graph*> graphs;

 private:
  std::unordered_set<const jit::Function*> seen_;
};

}  // namespace

std::vector<jit::Graph*> graphsOf(const jit::Module& module) {
  Collector collector;
  for (const jit::Module& part : module.modules()) {
    for (jit::Function* method : part.type()->methods()) collector.add(method);
  }
  return std::move(collector.graphs);
}

}  // namespace torchgraft
