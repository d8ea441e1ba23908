#include "graph.h"

#include <algorithm>
#include <unordered_set>

#include "failure.h"
#include "graph_paths.h"
#include "module_graphs.h"
#include "node_facts.h"
#include "specialise.h"

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

void readOrigin(const jit::Module& module, const jit::Graph& graph, const Paths& paths, ForwardFacts& facts) {
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
    // Weight standardisation has no mode.
    if ((!norm && node->kind() != kDropout) || (norm && paths.sourcesOf(node->input(0)))) return;
    const jit::Value* flag = node->input(norm ? 5 : 2);
    if (flag->node()->kind() != prim::Constant) return;
    fixedFlag = true;
    if (auto value = jit::toIValue(flag)) trainingFlag = trainingFlag || value->toBool();
  });
  facts.traced = facts.traced || fixedFlag;
  facts.tracedInEval = fixedFlag && !trainingFlag;
}

// Why no head was found, which layers may be it, and what to do.
std::string explain(const jit::Module& module, const std::vector<std::string>& sequence, const std::string& problem) {
  constexpr size_t kNamed = 5;
  std::vector<std::string> last;
  for (auto layer = sequence.rbegin(); layer != sequence.rend() && last.size() < kNamed; ++layer) {
    if (headAt(module, *layer)) last.push_back("`" + *layer + "`");
  }
  std::string text = "Which layer classifies cannot be told from forward: of the model's output, " + problem + ".";
  const std::string append = " A network without a classifier gets one with `append` (--append-head): pooled, classToken or both.";
  if (last.empty()) return text + " It has no Linear or Conv2d layer that could be replaced." + append;
  text += " Name it with `layer`, on the command line with --head-layer; the last Linear and Conv2d layers are ";
  for (size_t i = 0; i < last.size(); ++i) text += (i == 0 ? "" : ", ") + last[i];
  return text + " (the last first). `summary()` and `torchgraft inspect` list all." + append;
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

ForwardFacts analyseForward(const torch::jit::Module& module, const KnownHeads& known) {
  ForwardFacts facts;
  const auto graph = inlinedForward(module);
  const Paths paths(*graph);
  try {
    const auto open = openForward(module, usualArguments(module));
    facts.sequence = readSequence(*open, Paths(*open));
    FoundHeads found = findHeads(module, *open, known);
    facts.heads = std::move(found.heads);
    facts.mainOutput = std::move(found.place);
    if (!found.problem.empty()) facts.headProblem = explain(module, facts.sequence, found.problem);
  } catch (const std::exception& error) {
    // What cannot be taken apart still runs.
    facts.sequence = readSequence(*graph, paths);
    facts.headProblem = explain(module, facts.sequence, std::string("forward cannot be taken apart: ") + error.what());
  }
  readOrigin(module, *graph, paths, facts);
  const auto written = writtenAttributes(*graph, paths);
  facts.written.assign(written.begin(), written.end());
  std::sort(facts.written.begin(), facts.written.end());
  return facts;
}

}  // namespace torchgraft
