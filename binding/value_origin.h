// Which layers a value is made by: the walk back from an output to the first Linear or convolution on every way.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph_paths.h"
#include "torch.h"

namespace torchgraft {

struct Origin {
  // Operations of Linear layers and convolutions, each once.
  std::vector<const torch::jit::Node*> layers;
  // Operations that are no such layer, but compute with parameters or mix what layers give; and the words for the first.
  std::vector<const torch::jit::Node*> obstacles;
  std::string obstacle;
  // Operations that were passed, from the output on, each once.
  std::vector<const torch::jit::Node*> passed;

  void add(const Origin& other);
};

// What only rearranges values, changes their type, or drops some in training: nothing of it has to be known of a head.
bool onlyRearranges(const torch::jit::Node* node);

// The graph must be specialised, so that branches and arguments that do not count are gone.
class OriginFinder {
 public:
  OriginFinder(const torch::jit::Module& module, const Paths& paths) : module_(module), paths_(paths) {}

  const Origin& of(const torch::jit::Value* value);
  // The path of a layer's weight; nullptr where it is made of several attributes that are no one layer's.
  const std::string* weightOf(const torch::jit::Node* layer) const;

 private:
  Origin find(const torch::jit::Value* value);
  Origin findBehind(const torch::jit::Node* node);
  void add(Origin& into, const torch::jit::Value* value);
  bool isModulesOwn(const torch::jit::Value* value) const;
  bool isOneNumber(const torch::jit::Value* value) const;

  const torch::jit::Module& module_;
  const Paths& paths_;
  std::unordered_map<const torch::jit::Value*, Origin> known_;
};

// Whether what `later` takes is made of what `earlier` gives.
bool feeds(const torch::jit::Node* earlier, const torch::jit::Node* later);

}  // namespace torchgraft
