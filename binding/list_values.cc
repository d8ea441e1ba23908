#include "list_values.h"

#include <algorithm>
#include <vector>

#include "graph_paths.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// The statement of the graph's own block that a node belongs to.
jit::Node* statementOf(jit::Node* node, const jit::Block* top) {
  while (node->owningBlock() != top) node = node->owningBlock()->owningNode();
  return node;
}

// A read leaves the list as it is and keeps no reference to it.
bool isRead(const jit::Node* node, const jit::Value* list) {
  const auto* schema = node->maybeSchema();
  if (!schema || !node->kind().is_aten()) return false;
  for (size_t i = 0; i < node->inputs().size() && i < schema->arguments().size(); ++i) {
    const auto* alias = schema->arguments()[i].alias_info();
    if (node->input(i) == list && alias && alias->isWrite()) return false;
  }
  return true;
}

// Its appends in order; none when something else is done with the list.
std::vector<jit::Node*> appendsOf(jit::Node* construct) {
  jit::Value* const list = construct->output();
  std::vector<jit::Node*> appends;
  for (const jit::Use& use : list->uses()) {
    const bool isAppend = use.user->kind() == c10::aten::append && use.offset == 0;
    if (isAppend && use.user->owningBlock() == construct->owningBlock() && !use.user->output()->hasUses()) {
      appends.push_back(use.user);
    } else if (use.user->kind() != c10::prim::ListUnpack && !isRead(use.user, list)) {
      return {};
    }
  }
  std::sort(appends.begin(), appends.end(), [](const jit::Node* a, const jit::Node* b) { return a->isBefore(b); });
  return appends;
}

// The last append first: what is behind it reads the longest list.
void replaceAppendsTo(jit::Node* construct, const std::vector<jit::Node*>& appends) {
  std::vector<jit::Value*> elements(construct->inputs().begin(), construct->inputs().end());
  for (const jit::Node* append : appends) elements.push_back(append->input(1));
  for (auto append = appends.rbegin(); append != appends.rend(); ++append) {
    jit::WithInsertPoint point(*append);
    jit::Graph& graph = *construct->owningGraph();
    jit::Node* longer = graph.insertNode(graph.create(c10::prim::ListConstruct, elements));
    longer->output()->setType(construct->output()->type());
    const std::vector<jit::Use> uses = construct->output()->uses();
    for (const jit::Use& use : uses) {
      if ((*append)->isBefore(statementOf(use.user, construct->owningBlock()))) use.user->replaceInput(use.offset, longer->output());
    }
    (*append)->destroy();
    elements.pop_back();
  }
}

// `isinstance` leaves casts behind that cast to what is there: another name for the list.
void removeIdleCasts(jit::Graph& graph) {
  std::vector<jit::Node*> idle;
  eachNode(graph.block(), [&](jit::Node* node) {
    if (node->kind() == c10::prim::unchecked_cast && *node->output()->type() == *node->input()->type()) idle.push_back(node);
  });
  for (jit::Node* cast : idle) {
    cast->output()->replaceAllUsesWith(cast->input());
    cast->destroy();
  }
}

}  // namespace

void replaceAppends(const std::shared_ptr<jit::Graph>& graph) {
  removeIdleCasts(*graph);
  std::vector<jit::Node*> constructs;
  for (jit::Node* node : graph->nodes()) {
    if (node->kind() == c10::prim::ListConstruct) constructs.push_back(node);
  }
  for (jit::Node* construct : constructs) replaceAppendsTo(construct, appendsOf(construct));
}

}  // namespace torchgraft
