#include "value_origin.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "node_facts.h"
#include "outputs.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace prim = c10::prim;

bool isOneOf(std::string_view name, std::initializer_list<std::string_view> names) { return std::find(names.begin(), names.end(), name) != names.end(); }

bool carriesTensors(const c10::TypePtr& type) {
  if (type->isSubtypeOf(*c10::TensorType::get())) return true;
  for (const c10::TypePtr& inner : type->containedTypes()) {
    if (carriesTensors(inner)) return true;
  }
  return false;
}

template <class Element>
void unite(std::vector<Element>& into, const std::vector<Element>& from) {
  std::copy_if(from.begin(), from.end(), std::back_inserter(into),
               [&](const Element& element) { return std::find(into.begin(), into.end(), element) == into.end(); });
}

bool hasSame(const std::vector<const jit::Node*>& a, const std::vector<const jit::Node*>& b) {
  return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](const jit::Node* node) { return std::find(b.begin(), b.end(), node) != b.end(); });
}

// An argument of an inner block is what the node around it was given; of a loop also what its last pass gave.
std::vector<const jit::Value*> givenTo(const jit::Value* argument) {
  const jit::Node* outer = argument->node()->owningBlock()->owningNode();
  // A loop's block takes the number of the pass first, and the loop the number of passes and a condition.
  if (!outer || outer->kind() != prim::Loop || argument->offset() == 0) return {};
  return {outer->input(argument->offset() + 1)};
}

}  // namespace

std::string_view operationOf(const jit::Node* node) {
  std::string_view name = node->kind().toQualString();
  if (name.substr(0, 6) != "aten::") return name;
  name.remove_prefix(6);
  if (name.size() > 1 && name.back() == '_' && name[name.size() - 2] != '_') name.remove_suffix(1);
  return name;
}

bool onlyRearranges(const jit::Node* node) {
  const std::string_view name = operationOf(node);
  if (node->kind().is_prim() || name.find("dropout") != std::string_view::npos) return true;
  return isOneOf(name, {"flatten", "view", "reshape", "squeeze", "unsqueeze", "permute", "transpose", "t", "contiguous", "clone", "detach", "to", "type_as",
                        "select", "slice", "expand", "expand_as", "alias", "size", "stack", "unbind", "_autocast_to_full_precision"});
}

void Origin::add(const Origin& other) {
  unite(layers, other.layers);
  unite(obstacles, other.obstacles);
  if (obstacle.empty()) obstacle = other.obstacle;
}

const std::string* OriginFinder::weightOf(const jit::Node* layer) const { return weightPath(paths_, layer->input(layerOperands(layer)->weight)); }

// Without recursion: a graph may be a very long chain.
const Origin& OriginFinder::of(const jit::Value* wanted) {
  std::vector<std::pair<const jit::Value*, std::optional<Step>>> open{{wanted, std::nullopt}};
  while (!open.empty()) {
    auto& [value, step] = open.back();
    if (!step) {
      if (known_.count(value)) {
        open.pop_back();
        continue;
      }
      step = stepFrom(value);
      // Where a loop leads back here, the other ways tell.
      known_[value] = {};
      const std::vector<const jit::Value*> next = step->next;
      for (const jit::Value* inner : next) open.emplace_back(inner, std::nullopt);
      continue;
    }
    known_[value] = combine(*step);
    open.pop_back();
  }
  return known_.at(wanted);
}

std::vector<const jit::Node*> OriginFinder::passedBefore(const jit::Value* value) {
  std::vector<const jit::Node*> passed;
  std::unordered_set<const jit::Value*> seen;
  // In the order of breadth: what is nearer to the output comes first.
  std::deque<const jit::Value*> open{value};
  for (; !open.empty(); open.pop_front()) {
    if (!seen.insert(open.front()).second) continue;
    const Step step = stepFrom(open.front());
    if (step.kind == Step::passed && !onlyRearranges(step.node) && std::find(passed.begin(), passed.end(), step.node) == passed.end()) passed.push_back(step.node);
    open.insert(open.end(), step.next.begin(), step.next.end());
  }
  return passed;
}

Origin OriginFinder::combine(const Step& step) const {
  Origin origin;
  if (step.kind == Step::layer) origin.layers = {step.node};
  if (step.kind == Step::obstacle) {
    origin.obstacles = {step.node};
    origin.obstacle = step.node->kind().toQualString() + step.why;
  }
  const bool isProduct = step.kind == Step::passed && step.next.size() > 1 && isOneOf(operationOf(step.node), {"mul", "div"});
  if (isProduct) {
    // x * sigmoid(x) and x / |x| are of one value; a mask and noise come from no layer; a gate is made by another layer.
    const Origin& first = known_.at(step.next[0]);
    const Origin& second = known_.at(step.next[1]);
    if (!first.layers.empty() && !second.layers.empty() && !hasSame(first.layers, second.layers)) {
      return combine({Step::obstacle, step.node, " of two layers' outputs", {}});
    }
  }
  for (const jit::Value* value : step.next) origin.add(known_.at(value));
  return origin;
}

bool OriginFinder::isModulesOwn(const jit::Value* value) const {
  const auto* sources = paths_.sourcesOf(value);
  return sources && !sources->empty();
}

// One number of the module: a temperature, or one of a row of weights.
bool OriginFinder::isOneNumber(const jit::Value* value) const {
  const auto* sources = paths_.sourcesOf(value);
  const bool isElement = operationOf(value->node()) == "select";
  return sources && std::all_of(sources->begin(), sources->end(), [&](const std::string& path) {
    const c10::IValue tensor = attributeAt(module_, path);
    return tensor.isTensor() && (tensor.toTensor().numel() == 1 || (isElement && tensor.toTensor().dim() == 1));
  });
}

OriginFinder::Step OriginFinder::stepFrom(const jit::Value* value) const {
  if (!carriesTensors(value->type()) || paths_.sourcesOf(value)) return {};
  auto makers = makersOf(value);
  if (makers.size() != 1 || makers[0] != value) return {Step::nothing, nullptr, "", std::move(makers)};
  const jit::Node* node = value->node();
  if (node->kind() == prim::Param) return {Step::nothing, nullptr, "", givenTo(value)};
  if (node->kind() == prim::Loop) {
    // A loop's block returns its condition first.
    return {Step::nothing, nullptr, "", {node->blocks().at(0)->outputs().at(value->offset() + 1), node->input(value->offset() + 2)}};
  }
  if (node->kind().is_prim()) return {Step::nothing, nullptr, "", everIn(value)};
  return stepBehind(node);
}

OriginFinder::Step OriginFinder::stepBehind(const jit::Node* node) const {
  const std::string_view name = operationOf(node);
  std::vector<const jit::Value*> data;
  std::vector<const jit::Value*> own;
  for (const jit::Value* input : node->inputs()) {
    if (isModulesOwn(input)) own.push_back(input);
    else if (carriesTensors(input->type()) && !paths_.sourcesOf(input)) data.push_back(input);
  }
  const auto operands = layerOperands(node);
  if (operands && !paths_.sourcesOf(node->input(operands->input)) && weightOf(node)) return {Step::layer, node, "", {}};
  // A bias, a temperature, the type or shape of a parameter: the layer lies behind them.
  const bool isShift = isOneOf(name, {"add", "sub", "rsub", "to", "type_as", "expand_as", "view_as", "reshape_as", "index", "index_select", "gather", "masked_fill", "where"});
  const bool isScale = isOneOf(name, {"mul", "div"}) && std::all_of(own.begin(), own.end(), [this](const jit::Value* value) { return isOneNumber(value); });
  const bool mixes = operands || isOneOf(name, {"bmm", "baddbmm", "einsum", "scaled_dot_product_attention", "bilinear"});
  if (mixes && own.empty()) return {Step::obstacle, node, " of two computed values", {}};
  if (mixes || (!own.empty() && !isShift && !isScale)) return {Step::obstacle, node, " with `" + paths_.sourcesOf(own[0])->front() + "`", {}};
  return {Step::passed, node, "", std::move(data)};
}

bool feeds(const jit::Node* earlier, const jit::Node* later) {
  std::unordered_set<const jit::Node*> seen;
  std::vector<const jit::Node*> open;
  const auto visit = [&](const jit::Value* value) {
    const jit::Node* node = value->node();
    if (node->kind() == prim::Param) {
      // What an inner block takes, the node around it does.
      node = node->owningBlock()->owningNode();
      if (!node) return;
    }
    if (seen.insert(node).second) open.push_back(node);
  };
  for (const jit::Value* input : later->inputs()) visit(input);
  while (!open.empty()) {
    const jit::Node* node = open.back();
    open.pop_back();
    if (node == earlier) return true;
    for (const jit::Value* output : node->outputs()) {
      for (const jit::Value* inner : everIn(output)) visit(inner);
    }
    for (const jit::Block* block : node->blocks()) {
      for (const jit::Value* output : block->outputs()) visit(output);
    }
  }
  return false;
}

}  // namespace torchgraft
