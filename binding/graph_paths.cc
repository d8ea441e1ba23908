#include "graph_paths.h"

#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>

#include "failure.h"
#include "new_module.h"

namespace torchgraft {

namespace jit = torch::jit;
namespace prim = c10::prim;

namespace {

// Adapters and the scale of a cosine head are no part of the weight that they change.
bool isGraft(const jit::Node* read) {
  const auto type = read->input()->type()->cast<c10::ClassType>();
  if (!type) return false;
  return isMadeAs(*type, "LoraAdapter") || (isMadeAs(*type, "CosineHead") && read->s(c10::attr::name) == "scale");
}

bool holdsTensor(const c10::TypePtr& type) {
  if (type->isSubtypeOf(*c10::TensorType::get())) return true;
  const auto inner = type->containedTypes();
  return type->kind() != c10::TypeKind::ClassType && std::any_of(inner.begin(), inner.end(), holdsTensor);
}

bool isWritten(const jit::Value* value) {
  return std::any_of(value->uses().begin(), value->uses().end(), [](const jit::Use& use) {
    const auto* schema = use.user->maybeSchema();
    const auto* alias = schema && use.offset < schema->arguments().size() ? schema->arguments()[use.offset].alias_info() : nullptr;
    return alias && alias->isWrite();
  });
}

void unite(std::vector<std::string>& into, const std::vector<std::string>& from) {
  for (const std::string& path : from) {
    if (std::find(into.begin(), into.end(), path) == into.end()) into.push_back(path);
  }
}

}  // namespace

Paths::Paths(const jit::Graph& graph) {
  paths_[graph.inputs().at(0)] = "";
  sources_[graph.inputs().at(0)] = {};
  collect(graph.block());
}

const std::string* Paths::of(const jit::Value* value) const {
  auto found = paths_.find(value);
  return found == paths_.end() ? nullptr : &found->second;
}

const std::vector<std::string>* Paths::sourcesOf(const jit::Value* value) const {
  auto found = sources_.find(value);
  return found == sources_.end() ? nullptr : &found->second;
}

void Paths::collect(const jit::Block* block) {
  for (const jit::Node* node : block->nodes()) {
    for (const jit::Block* inner : node->blocks()) collect(inner);
    if (node->kind() == prim::GetAttr) noteAttribute(node);
    else noteSources(node);
  }
}

void Paths::noteAttribute(const jit::Node* node) {
  const std::string* owner = of(node->input());
  if (!owner) return;
  const std::string& name = node->s(c10::attr::name);
  const std::string path = owner->empty() ? name : *owner + "." + name;
  paths_[node->output()] = path;
  auto& sources = sources_[node->output()];
  if (holdsTensor(node->output()->type()) && !isGraft(node)) sources = {path};
}

void Paths::noteSources(const jit::Node* node) {
  // Of a branch each way; loops are left.
  if (!node->blocks().empty() && node->kind() != prim::If) return;
  for (const jit::Value* output : node->outputs()) {
    // A list that is filled, zeros that are written into.
    if (isWritten(output)) return;
    std::vector<const jit::Value*> made(node->inputs().begin(), node->inputs().end());
    // What comes in gives a type or a place alone.
    if (node->kind() == prim::dtype || node->kind() == prim::device || node->kind() == prim::layout) made.clear();
    const bool isCast = node->kind() == c10::aten::type_as || node->kind() == c10::aten::to;
    if (isCast && made.size() > 1 && made[1]->type()->isSubtypeOf(*c10::TensorType::get())) made.resize(1);
    if (node->kind() == prim::If) {
      made.clear();
      for (const jit::Block* block : node->blocks()) made.push_back(block->outputs().at(output->offset()));
    }
    std::vector<std::string> sources;
    for (const jit::Value* value : made) {
      const auto* found = sourcesOf(value);
      if (!found) return;
      unite(sources, *found);
    }
    sources_[output] = std::move(sources);
  }
}

std::string parentOf(const std::string& path) {
  const auto dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

// Inline() goes one level deep where the callee was not optimised before, so it is repeated until no call is left.
void inlineCalls(jit::Graph& graph) {
  constexpr int kDeepest = 64;
  for (int depth = 0; depth < kDeepest; ++depth) {
    bool calls = false;
    eachNode(graph.block(), [&](const jit::Node* node) {
      calls = calls || node->kind() == prim::CallMethod || node->kind() == prim::CallFunction;
    });
    if (!calls) return;
    jit::Inline(graph);
  }
}

std::shared_ptr<jit::Graph> inlinedForward(const jit::Module& module) {
  auto method = module.find_method("forward");
  if (!method) throw Failure("MODEL_UNREADABLE", "The model has no forward method.");
  auto graph = method->graph()->copy();
  inlineCalls(*graph);
  return graph;
}

c10::IValue attributeAt(const jit::Module& module, const std::string& path) {
  c10::IValue value = module._ivalue();
  for (size_t from = 0; from < path.size();) {
    size_t dot = path.find('.', from);
    if (dot == std::string::npos) dot = path.size();
    value = value.toObject()->getAttr(path.substr(from, dot - from));
    from = dot + 1;
  }
  return value;
}

}  // namespace torchgraft
