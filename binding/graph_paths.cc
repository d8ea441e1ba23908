#include "graph_paths.h"

#include <torch/csrc/jit/passes/inliner.h>

#include "failure.h"

namespace torchgraft {

namespace jit = torch::jit;
namespace prim = c10::prim;

Paths::Paths(const jit::Graph& graph) {
  paths_[graph.inputs().at(0)] = "";
  collect(graph.block());
}

const std::string* Paths::of(const jit::Value* value) const {
  auto found = paths_.find(value);
  return found == paths_.end() ? nullptr : &found->second;
}

void Paths::collect(const jit::Block* block) {
  eachNode(block, [this](const jit::Node* node) {
    if (node->kind() != prim::GetAttr) return;
    if (const std::string* owner = of(node->input())) {
      const std::string& name = node->s(c10::attr::name);
      paths_[node->output()] = owner->empty() ? name : *owner + "." + name;
    }
  });
}

std::string parentOf(const std::string& path) {
  const auto dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

// Inline() goes one level deep where the callee was not optimised before, so it is repeated until no call is left.
void inlineCalls(jit::Graph& graph) {
  constexpr int kDeepest = 64;
  for (int depth = 0; depth < kDeepest; ++depth) {
    bool calls = false;
    eachNode(graph.block(), [&](const jit::Node* node) {
      calls = calls || node->kind() == prim::CallMethod || node->kind() == prim::CallFunction;
    });
    if (!calls) return;
    jit::Inline(graph);
  }
}

std::shared_ptr<jit::Graph> inlinedForward(const jit::Module& module) {
  auto method = module.find_method("forward");
  if (!method) throw Failure("MODEL_UNREADABLE", "The model has no forward method.");
  auto graph = method->graph()->copy();
  inlineCalls(*graph);
  return graph;
}

c10::IValue attributeAt(const jit::Module& module, const std::string& path) {
  c10::IValue value = module._ivalue();
  for (size_t from = 0; from < path.size();) {
    size_t dot = path.find('.', from);
    if (dot == std::string::npos) dot = path.size();
    value = value.toObject()->getAttr(path.substr(from, dot - from));
    from = dot + 1;
  }
  return value;
}

}  // namespace torchgraft
