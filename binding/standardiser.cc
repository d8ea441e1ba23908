#include "standardiser.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include "failure.h"
#include "grafts.h"
#include "graph_paths.h"
#include "new_module.h"
#include "specialise.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

constexpr const char* kClass = "Standardiser";
const auto kDiv = c10::Symbol::fromQualString("aten::div");
const auto kSub = c10::Symbol::fromQualString("aten::sub");
const auto kView = c10::Symbol::fromQualString("aten::view");

// The path of the standardiser whose quotient this is; empty where it is none.
std::string madeBy(const jit::Module& module, const Paths& paths, const jit::Value* value) {
  const jit::Node* quotient = value->node();
  if (quotient->kind() != kDiv || quotient->input(0)->node()->kind() != kSub) return "";
  const jit::Value* divisor = quotient->input(1);
  if (divisor->node()->kind() == kView) divisor = divisor->node()->input(0);
  const std::string* path = paths.of(divisor);
  if (!path) return "";
  return isOfStandardiser(module, *path) ? parentOf(*path) : "";
}

jit::Module makeStandardiser(const jit::Module& module, const Head& head) {
  jit::Module standardiser = makeModule(module, kClass);
  const at::TensorOptions options = attributeAt(module, weightOf(head.module)).toTensor().options().requires_grad(false);
  standardiser.register_buffer("mean", at::zeros({head.inFeatures}, options));
  standardiser.register_buffer("std", at::ones({head.inFeatures}, options));
  // Channels of an image come before its sides.
  const std::string view = head.convolution ? ".view([-1, 1, 1])" : "";
  standardiser.define("def forward(self, x):\n    return (x - self.mean" + view + ") / self.std" + view + "\n");
  return standardiser;
}

}  // namespace

bool isStandardiser(const jit::Module& module) { return isMadeAs(*module.type(), kClass); }

bool isOfStandardiser(const jit::Module& module, const std::string& path) {
  const c10::IValue owner = attributeAt(module, parentOf(path));
  return owner.isModule() && isStandardiser(owner.toModule());
}

bool hasStandardiser(const jit::Module& module, const std::string& layer) {
  const auto graph = inlinedForward(module);
  const Paths paths(*graph);
  for (const WeightUse& use : usesOf(*graph, paths, layer)) {
    if (!madeBy(module, paths, use.node->input(use.input)).empty()) return true;
  }
  return false;
}

void removeStandardiser(jit::Module& module, const std::string& layer) {
  const auto graph = flattenForward(module);
  std::string path;
  const Paths paths(*graph);
  for (const WeightUse& use : usesOf(*graph, paths, layer)) {
    const jit::Value* quotient = use.node->input(use.input);
    const std::string found = madeBy(module, paths, quotient);
    if (found.empty()) continue;
    use.node->replaceInput(use.input, quotient->node()->input(0)->node()->input(0));
    path = found;
  }
  if (path.empty()) return;
  jit::EliminateDeadCode(graph);
  // addStandardiser() makes it a child of the model itself. Where that has become part of a larger one, its own forward
  // still names it.
  if (!parentOf(path).empty()) return;
  module._ivalue()->unsafeRemoveAttr(path);
  module.type()->unsafeRemoveAttribute(path);
}

std::string addStandardiser(jit::Module& module, const Head& head) {
  const auto graph = flattenForward(module);
  const auto uses = usesOf(*graph, Paths(*graph), head.module);
  if (uses.empty()) {
    throw Failure("NO_HEAD", "forward never computes with the weight of '" + head.module + "', so nothing can be standardised before it.");
  }
  const std::string name = freeName(module, "standardiser");
  const jit::Module standardiser = makeStandardiser(module, head);
  module.register_module(name, standardiser);
  for (const WeightUse& use : uses) {
    jit::WithInsertPoint point(use.node);
    use.node->replaceInput(use.input, insertChildCall(*graph, standardiser, name, use.node->input(use.input)));
  }
  return name;
}

}  // namespace torchgraft
