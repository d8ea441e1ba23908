#include "squash.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_set>

#include "graph_paths.h"
#include "outputs.h"
#include "specialise.h"
#include "value_origin.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

constexpr std::array<std::string_view, 6> kSquashes{"softmax", "_softmax", "log_softmax", "_log_softmax", "sigmoid", "log_sigmoid"};

bool isSquash(std::string_view name) { return std::find(kSquashes.begin(), kSquashes.end(), name) != kSquashes.end(); }

// As a person calls it: `_softmax` is softmax.
std::string plainName(std::string_view name) { return std::string(name.substr(name[0] == '_' ? 1 : 0)); }

void addOnce(std::vector<std::string>& names, std::string name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

// On every way back from a value, through branches.
class Walk {
 public:
  void back(const jit::Value* value) {
    for (const jit::Value* maker : makersOf(value)) {
      const jit::Node* node = maker->node();
      if (!seen_.insert(node).second) continue;
      if (isSquash(operationOf(node))) found.push_back(node);
      else if (node->inputs().empty() || !onlyRearranges(node)) continue;
      back(node->input(0));
    }
  }

  std::vector<const jit::Node*> found;

 private:
  std::unordered_set<const jit::Node*> seen_;
};

}  // namespace

std::vector<std::string> squashesBehind(const Head& head) {
  std::vector<std::string> names;
  for (auto name = head.after.rbegin(); name != head.after.rend() && isSquash(*name); ++name) addOnce(names, plainName(*name));
  return names;
}

std::vector<std::string> cutSquashes(jit::Module& module, const std::vector<Head>& heads) {
  const auto graph = flattenForward(module);
  Walk walk;
  for (const Output& output : outputsOf(*graph)) {
    const bool isHeads = std::any_of(heads.begin(), heads.end(), [&](const Head& head) { return head.place == output.place; });
    if (!isHeads) continue;
    for (const jit::Value* value : output.values) walk.back(value);
  }
  std::vector<std::string> names;
  for (const jit::Node* found : walk.found) {
    jit::Node* node = const_cast<jit::Node*>(found);
    addOnce(names, plainName(operationOf(node)));
    node->output()->replaceAllUsesWith(node->input(0));
    node->destroy();
  }
  jit::EliminateDeadCode(graph);
  return names;
}

}  // namespace torchgraft
