#include "follow_mode.h"

#include "graph_paths.h"
#include "module_graphs.h"
#include "node_facts.h"
#include "specialise.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace prim = c10::prim;

// Which input of dropout or BatchNorm says whether it is in training.
std::optional<size_t> modeInput(const jit::Node* node) {
  const auto* schema = node->maybeSchema();
  if (!schema) return std::nullopt;
  const std::string name = node->kind().toUnqualString();
  const bool isDropout = name.find("dropout") != std::string::npos;
  if (!isDropout && node->kind() != c10::aten::batch_norm) return std::nullopt;
  const auto index = schema->argumentIndexWithName(isDropout ? "train" : "training");
  return index ? std::optional<size_t>(*index) : std::nullopt;
}

// Without running statistics BatchNorm has nothing else to normalise by.
bool hasNoStatistics(const jit::Node* node) { return node->kind() == c10::aten::batch_norm && node->input(3)->mustBeNone(); }

bool isOn(const jit::Value* flag) {
  const auto value = flag->node()->kind() == prim::Constant ? jit::toIValue(flag) : std::nullopt;
  return value && value->isBool() && value->toBool();
}

// A traced BatchNorm counts its batches, in whatever mode; nothing reads the count.
bool countsBatches(const jit::Node* node) {
  if (node->kind() != c10::aten::add_ || node->output()->hasUses()) return false;
  const jit::Node* read = node->input(0)->node();
  return read->kind() == prim::GetAttr && read->s(c10::attr::name) == "num_batches_tracked";
}

}  // namespace

int followMode(jit::Module& module) {
  int followed = 0;
  for (jit::Graph* graph : graphsOf(module)) {
    const auto type = graph->inputs().empty() ? nullptr : graph->inputs().at(0)->type()->cast<c10::ClassType>();
    const auto flagType = type ? type->findAttribute("training") : nullptr;
    if (!flagType || flagType->kind() != c10::TypeKind::BoolType) continue;
    std::vector<jit::Node*> modes;
    std::vector<jit::Node*> counts;
    eachNode(graph->block(), [&](jit::Node* node) {
      const auto input = modeInput(node);
      if (input && isOn(node->input(*input)) && !hasNoStatistics(node)) modes.push_back(node);
      if (countsBatches(node)) counts.push_back(node);
    });
    for (jit::Node* node : modes) {
      jit::WithInsertPoint point(node);
      jit::Value* flag = graph->insertGetAttr(graph->inputs().at(0), "training");
      node->replaceInput(*modeInput(node), flag);
    }
    for (jit::Node* node : counts) node->destroy();
    followed += static_cast<int>(modes.size());
  }
  return followed;
}

std::string changingInEval(const jit::Module& module) {
  const auto forward = inlinedForward(module);
  bool isCandidate = false;
  eachNode(forward->block(), [&](const jit::Node* node) { isCandidate = isCandidate || drawsNumbers(node) || updatesStatistics(node); });
  if (!isCandidate) return "";
  std::string found;
  eachNode(forwardInEval(module)->block(), [&](const jit::Node* node) {
    const bool normalisesByBatch = updatesStatistics(node) && !hasNoStatistics(node);
    if (found.empty() && (drawsNumbers(node) || normalisesByBatch)) found = node->kind().toQualString();
  });
  return found;
}

}  // namespace torchgraft
