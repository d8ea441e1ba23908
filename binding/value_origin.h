// Which layers a value is made by: the walk back from an output to the first Linear or convolution on every way.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
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

  void add(const Origin& other);
};

// The graph must be specialised, so that branches and arguments that do not count are gone.
class OriginFinder {
 public:
  OriginFinder(const torch::jit::Module& module, const Paths& paths) : module_(module), paths_(paths) {}

  const Origin& of(const torch::jit::Value* value);
  // Operations between the layers and a value that is made by them, the last first, each once; not those that only rearrange
  // values, change their type, or drop some in training.
  std::vector<const torch::jit::Node*> passedBefore(const torch::jit::Value* value);
  // The path of a layer's weight; nullptr where it is made of several attributes that are no one layer's.
  const std::string* weightOf(const torch::jit::Node* layer) const;

 private:
  // What a value is: made by a layer, by an obstacle, or of other values.
  struct Step {
    enum Kind { nothing, layer, obstacle, passed } kind = nothing;
    const torch::jit::Node* node = nullptr;
    std::string why;
    std::vector<const torch::jit::Value*> next;
  };
  Step stepFrom(const torch::jit::Value* value) const;
  Step stepBehind(const torch::jit::Node* node) const;
  Origin combine(const Step& step) const;
  bool isModulesOwn(const torch::jit::Value* value) const;
  bool isOneNumber(const torch::jit::Value* value) const;

  const torch::jit::Module& module_;
  const Paths& paths_;
  std::unordered_map<const torch::jit::Value*, Origin> known_;
};

// An operation's name without `aten::`, and without the mark of one in place.
std::string_view operationOf(const torch::jit::Node* node);
// What only rearranges values, changes their type, or drops some in training.
bool onlyRearranges(const torch::jit::Node* node);

// Whether what `later` takes is made of what `earlier` gives.
bool feeds(const torch::jit::Node* earlier, const torch::jit::Node* later);

}  // namespace torchgraft
