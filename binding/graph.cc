#include "graph.h"

#include <algorithm>
#include <unordered_set>

#include "failure.h"
#include "grafts.h"
#include "graph_paths.h"
#include "module_graphs.h"
#include "node_facts.h"
#include "pooling.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace prim = c10::prim;

std::vector<std::string> readSequence(const jit::Graph& graph, const Paths& paths) {
  std::vector<std::string> sequence;
  std::unordered_set<std::string> seen;
  auto use = [&](const std::string& module) {
    if (seen.insert(module).second) sequence.push_back(module);
  };
  eachNode(graph.block(), [&](const jit::Node* node) {
    if (node->kind() == prim::GetAttr) {
      const std::string* path = paths.of(node->output());
      if (path && node->s(c10::attr::name) == "training") use(parentOf(*path));
      return;
    }
    for (const jit::Value* input : node->inputs()) {
      const std::string* path = paths.of(input);
      if (path && input->type()->isSubtypeOf(*c10::TensorType::get())) use(parentOf(*path));
    }
  });
  return sequence;
}

const auto kConvolution = c10::Symbol::fromQualString("aten::_convolution");
const auto kBatchNorm = c10::Symbol::fromQualString("aten::batch_norm");
const auto kDropout = c10::Symbol::fromQualString("aten::dropout");

bool carriesTensors(const c10::TypePtr& type) {
  if (type->isSubtypeOf(*c10::TensorType::get())) return true;
  for (const c10::TypePtr& inner : type->containedTypes()) {
    if (carriesTensors(inner)) return true;
  }
  return false;
}

// Walks from the outputs back to the first layer with parameters on every way.
class HeadFinder {
 public:
  HeadFinder(const jit::Module& module, const Paths& paths) : module_(module), paths_(paths) {}

  std::vector<Head> find(const jit::Graph& graph) {
    visitResult(graph.outputs().at(0));
    return std::move(heads_);
  }

 private:
  // The elements of a tuple, list or dict apart, also where branches return one each, as GoogLeNet and Inception do.
  void visitResult(const jit::Value* result) {
    const jit::Node* maker = result->node();
    if (maker->kind() == prim::If) {
      for (const jit::Block* block : maker->blocks()) visitResult(block->outputs().at(result->offset()));
      return;
    }
    if (maker->kind() != prim::TupleConstruct && maker->kind() != prim::ListConstruct && maker->kind() != prim::DictConstruct) {
      visit(result, 0);
      return;
    }
    // A dict's inputs alternate key and value.
    const bool dict = maker->kind() == prim::DictConstruct;
    for (size_t i = dict ? 1 : 0; i < maker->inputs().size(); i += dict ? 2 : 1) {
      visit(maker->input(i), static_cast<int>(dict ? i / 2 : i));
    }
  }

  const std::string* layerWeight(const jit::Node* node) const {
    const auto operands = layerOperands(node);
    return operands ? weightPath(paths_, node->input(operands->weight)) : nullptr;
  }

  bool usesParameters(const jit::Node* node) const {
    return std::any_of(node->inputs().begin(), node->inputs().end(), [&](const jit::Value* input) {
      return paths_.of(input) && input->type()->isSubtypeOf(*c10::TensorType::get());
    });
  }

  void visit(const jit::Value* value, int output) {
    if (!carriesTensors(value->type()) || !seen_.insert(value).second) return;
    const jit::Node* node = value->node();
    // One element of a tuple that an inner method returned.
    if (node->kind() == prim::TupleUnpack && node->input()->node()->kind() == prim::TupleConstruct) {
      visit(node->input()->node()->input(value->offset()), output);
      return;
    }
    if (const std::string* weight = layerWeight(node)) {
      addHead(node, parentOf(*weight), output);
      return;
    }
    // matmul + bias: the addition's parameter is the bias, the layer lies behind it.
    const bool addition = node->kind() == c10::aten::add || node->kind() == c10::aten::add_;
    if (usesParameters(node) && !addition) return;
    if (!node->blocks().empty()) {
      for (const jit::Block* block : node->blocks()) {
        // A loop's block returns its condition first.
        const size_t shift = node->kind() == prim::Loop ? 1 : 0;
        const size_t at = value->offset() + shift;
        if (at < block->outputs().size()) visit(block->outputs()[at], output);
      }
    }
    for (const jit::Value* input : node->inputs()) visit(input, output);
  }

  void addHead(const jit::Node* node, const std::string& path, int output) {
    std::optional<Head> head = headAt(module_, path);
    if (!head) return;
    const auto operands = *layerOperands(node);
    head->output = output;
    head->cosine = isCosineProduct(untransposed(node->input(operands.weight))->node());
    head->pooling = poolingBefore(node->input(operands.input));
    heads_.push_back(*head);
  }

  const jit::Module& module_;
  const Paths& paths_;
  std::unordered_set<const jit::Value*> seen_;
  std::vector<Head> heads_;
};

enum class LayerConstants { none, kept, noLayers };

// torch.jit.script keeps the constants of layers, such as in_features; torch.jit.trace keeps none.
LayerConstants findConstants(const jit::Module& module) {
  LayerConstants found = LayerConstants::noLayers;
  for (const jit::Module& layer : module.modules()) {
    const auto name = layer.type()->name();
    if (!name || name->qualifiedName().find("torch.nn.modules.") == std::string::npos || !layer.hasattr("weight")) continue;
    if (layer.type()->numConstants() > 0) return LayerConstants::kept;
    found = LayerConstants::none;
  }
  return found;
}

void readOrigin(const jit::Module& module, const jit::Graph& graph, ForwardFacts& facts) {
  const LayerConstants constants = findConstants(module);
  // Scripted for sure: a constant flag in it is the author's, as in PyTorch's attention.
  if (constants == LayerConstants::kept) return;
  facts.traced = constants == LayerConstants::none;
  bool fixedFlag = false;
  bool trainingFlag = false;
  eachNode(graph.block(), [&](const jit::Node* node) {
    // torch.jit.trace records _convolution; torch.jit.script keeps the functional conv2d.
    if (node->kind() == kConvolution) facts.traced = true;
    const bool norm = node->kind() == kBatchNorm;
    if (!norm && node->kind() != kDropout) return;
    const jit::Value* flag = node->input(norm ? 5 : 2);
    if (flag->node()->kind() != prim::Constant) return;
    fixedFlag = true;
    if (auto value = jit::toIValue(flag)) trainingFlag = trainingFlag || value->toBool();
  });
  facts.traced = facts.traced || fixedFlag;
  facts.tracedInEval = fixedFlag && !trainingFlag;
}

}  // namespace

torch::jit::Module submodule(const torch::jit::Module& module, const std::string& path) {
  jit::Module current = module;
  for (size_t from = 0; from < path.size();) {
    size_t dot = path.find('.', from);
    if (dot == std::string::npos) dot = path.size();
    const std::string name = path.substr(from, dot - from);
    if (!current.hasattr(name) || !current.attr(name).isModule()) {
      throw Failure("NO_HEAD", "The model has no module '" + path + "'.");
    }
    current = current.attr(name).toModule();
    from = dot + 1;
  }
  return current;
}

bool looksTraced(const torch::jit::Module& module) {
  const LayerConstants constants = findConstants(module);
  if (constants != LayerConstants::noLayers) return constants == LayerConstants::none;
  bool found = false;
  for (const jit::Graph* graph : graphsOf(module)) {
    eachNode(graph->block(), [&](const jit::Node* node) { found = found || node->kind() == kConvolution; });
  }
  return found;
}

std::optional<Head> headAt(const torch::jit::Module& module, const std::string& path) {
  const jit::Module layer = submodule(module, path);
  if (!layer.hasattr("weight") || !layer.attr("weight").isTensor()) return std::nullopt;
  const at::Tensor weight = layer.attr("weight").toTensor();
  if (weight.dim() != 2 && weight.dim() != 4) return std::nullopt;
  Head head;
  head.module = path;
  head.convolution = weight.dim() == 4;
  head.outFeatures = weight.size(0);
  head.inFeatures = weight.size(1);
  head.hasBias = layer.hasattr("bias") && layer.attr("bias").isTensor();
  return head;
}

ForwardFacts analyseForward(const torch::jit::Module& module) {
  ForwardFacts facts;
  const auto graph = inlinedForward(module);
  const Paths paths(*graph);
  facts.sequence = readSequence(*graph, paths);
  facts.heads = HeadFinder(module, paths).find(*graph);
  readOrigin(module, *graph, facts);
  const auto written = writtenAttributes(*graph, paths);
  facts.written.assign(written.begin(), written.end());
  std::sort(facts.written.begin(), facts.written.end());
  return facts;
}

}  // namespace torchgraft
