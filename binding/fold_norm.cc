#include "fold_norm.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>

#include "grafts.h"
#include "graph_paths.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace aten = c10::aten;

bool isTensor(const jit::Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

class Folder {
 public:
  Folder(jit::Graph& graph, const jit::Module& module) : graph_(graph), module_(module), paths_(graph) {}

  bool fold(jit::Node* norm) {
    static const auto kConvolution = c10::Symbol::fromQualString("aten::_convolution");
    jit::Node* convolution = norm->input(0)->node();
    const bool isConvolution = convolution->kind() == aten::conv2d || convolution->kind() == kConvolution;
    if (!isConvolution || norm->input(0)->uses().size() != 1 || convolution->owningBlock() != norm->owningBlock()) return false;
    if (const auto training = jit::toIValue(norm->input(5)); !training || !training->isBool() || training->toBool()) return false;
    // gamma, beta, mean and variance; without gamma and beta there is little to gain.
    for (size_t i = 1; i < 5; ++i) {
      if (!isTensor(norm->input(i)) || !paths_.of(norm->input(i))) return false;
    }
    const std::string* weight = paths_.of(bareWeight(convolution->input(1)));
    if (!weight || attributeAt(module_, *weight).toTensor().dim() != 4 || isTransposed(convolution)) return false;
    if (learns(*paths_.of(norm->input(1))) && !learns(*weight)) return false;
    rewrite(convolution, norm);
    return true;
  }

 private:
  bool learns(const std::string& path) const { return attributeAt(module_, path).toTensor().requires_grad(); }

  static bool isTransposed(const jit::Node* convolution) {
    if (convolution->kind() == aten::conv2d) return false;
    const auto transposed = jit::toIValue(convolution->input(6));
    return !transposed || transposed->toBool();
  }

  jit::Value* call(c10::Symbol kind, std::vector<jit::Value*> inputs) {
    jit::Value* result = graph_.insertNode(graph_.create(kind, inputs))->output();
    result->setType(c10::TensorType::get());
    return result;
  }

  // A scripted layer's bias is declared as one that may be None.
  bool hasBias(const jit::Node* convolution) const {
    const jit::Value* bias = convolution->input(2);
    if (const std::string* path = paths_.of(bias)) return attributeAt(module_, *path).isTensor();
    return !bias->mustBeNone();
  }
  jit::Value* biasOf(jit::Node* convolution) {
    jit::Value* bias = convolution->input(2);
    return isTensor(bias) ? bias : call(c10::prim::unchecked_cast, {bias});
  }

  // In front of the norm: by then its parameters have been read.
  void rewrite(jit::Node* convolution, jit::Node* norm) {
    jit::WithInsertPoint point(norm);
    jit::Value* one = graph_.insertConstant(1);
    jit::Value* const gamma = norm->input(1);
    jit::Value* const mean = norm->input(3);
    jit::Value* shifted = call(aten::add, {norm->input(4), norm->input(7), one});
    jit::Value* scale = call(aten::mul, {gamma, call(aten::rsqrt, {shifted})});
    jit::Value* column = call(aten::view, {scale, graph_.insertConstant(std::vector<int64_t>{-1, 1, 1, 1})});
    jit::Value* weight = call(aten::mul, {convolution->input(1), column});
    jit::Value* centre = hasBias(convolution) ? call(aten::sub, {mean, biasOf(convolution), one}) : mean;
    jit::Value* bias = call(aten::sub, {norm->input(2), call(aten::mul, {centre, scale}), one});
    jit::Node* folded = graph_.createClone(convolution, [](jit::Value* value) { return value; });
    folded->replaceInput(1, weight);
    folded->replaceInput(2, bias);
    graph_.insertNode(folded);
    norm->output()->replaceAllUsesWith(folded->output());
    norm->destroy();
    convolution->destroy();
  }

  jit::Graph& graph_;
  const jit::Module& module_;
  const Paths paths_;
};

bool isDimensionCheck(const jit::Node* node) {
  if (node->kind() != c10::prim::If || !node->outputs().empty()) return false;
  const jit::Node* condition = node->input()->node();
  if (condition->kind() != aten::ne || condition->input(0)->node()->kind() != aten::dim) return false;
  const auto nodes = node->blocks().at(0)->nodes();
  return std::any_of(nodes.begin(), nodes.end(), [](const jit::Node* inner) { return inner->kind() == c10::prim::RaiseException; }) &&
         node->blocks().at(1)->nodes().begin() == node->blocks().at(1)->nodes().end();
}

}  // namespace

void removeDimensionChecks(const std::shared_ptr<jit::Graph>& graph) {
  std::vector<jit::Node*> checks;
  eachNode(graph->block(), [&](jit::Node* node) {
    if (isDimensionCheck(node)) checks.push_back(node);
  });
  for (jit::Node* check : checks) check->destroy();
  jit::EliminateDeadCode(graph);
}

int foldFixedNorms(jit::Graph& graph, const jit::Module& module) {
  std::vector<jit::Node*> norms;
  eachNode(graph.block(), [&](jit::Node* node) {
    if (node->kind() == aten::batch_norm) norms.push_back(node);
  });
  Folder folder(graph, module);
  int count = 0;
  for (jit::Node* norm : norms) count += folder.fold(norm) ? 1 : 0;
  return count;
}

}  // namespace torchgraft
