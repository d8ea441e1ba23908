// Walking an inlined TorchScript graph: every node, and which parameter, buffer or module a value stands for.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Calls visit(node) for each node, those of inner blocks included, in the order they are written.
template <class Block, class Visit>
void eachNode(Block* block, const Visit& visit) {
  for (auto* node : block->nodes()) {
    visit(node);
    for (auto* inner : node->blocks()) eachNode(inner, visit);
  }
}

// Follows GetAttr chains from self.
class Paths {
 public:
  explicit Paths(const torch::jit::Graph& graph);
  // The dotted path, or nullptr for a value that is no attribute of the module.
  const std::string* of(const torch::jit::Value* value) const;
  // Paths of the tensors that a value is made of, where it is made of the module and constants alone, whatever comes in; without
  // those that torchgraft puts into a layer's weight. nullptr for a value that depends on forward's inputs.
  const std::vector<std::string>* sourcesOf(const torch::jit::Value* value) const;

 private:
  void collect(const torch::jit::Block* block);
  void noteAttribute(const torch::jit::Node* node);
  void noteSources(const torch::jit::Node* node);
  std::unordered_map<const torch::jit::Value*, std::string> paths_;
  std::unordered_map<const torch::jit::Value*, std::vector<std::string>> sources_;
};

// `a.b` of `a.b.c`; '' of a name without dots.
std::string parentOf(const std::string& path);

// A copy of forward's graph in which no call is left. Throws Failure("MODEL_UNREADABLE") when there is no forward.
std::shared_ptr<torch::jit::Graph> inlinedForward(const torch::jit::Module& module);

// Every call in the graph makes way for what it calls.
void inlineCalls(torch::jit::Graph& graph);

// What a path names: tensor, number, module. Throws a c10 error when there is none.
c10::IValue attributeAt(const torch::jit::Module& module, const std::string& path);

}  // namespace torchgraft
