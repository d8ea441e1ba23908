#include "outputs.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "failure.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace prim = c10::prim;

// Tuples, lists and dicts within each other that are looked into.
constexpr size_t kDeepest = 16;

bool isKind(const jit::Node* node, const char* name) { return std::string_view(node->kind().toQualString()) == name; }

// Another name for its input.
bool isSameValue(const jit::Node* node) {
  return node->kind() == prim::unchecked_cast || node->kind() == prim::unchecked_unwrap_optional || isKind(node, "aten::_unwrap_optional");
}

// Which element of its first input a value is.
std::optional<int64_t> elementOf(const jit::Value* value) {
  const jit::Node* node = value->node();
  if (node->kind() == prim::TupleUnpack || node->kind() == prim::ListUnpack) return value->offset();
  if (node->kind() != prim::TupleIndex && !isKind(node, "aten::__getitem__")) return std::nullopt;
  const auto index = jit::toIValue(node->input(1));
  return index && index->isInt() ? std::optional<int64_t>(index->toInt()) : std::nullopt;
}

bool isSequence(const jit::Node* node) { return node->kind() == prim::TupleConstruct || node->kind() == prim::ListConstruct; }

// As it was made, a list or tuple is only where nothing is put in or taken out.
bool isChanged(const jit::Value* container) {
  return std::any_of(container->uses().begin(), container->uses().end(), [](const jit::Use& use) {
    const auto* schema = use.user->maybeSchema();
    const auto* alias = schema && use.offset < schema->arguments().size() ? schema->arguments()[use.offset].alias_info() : nullptr;
    return alias && alias->isWrite();
  });
}

// The values that a value is another name for, one step back; none where it is its own.
std::vector<const jit::Value*> namedBy(const jit::Value* value) {
  const jit::Node* node = value->node();
  if (isSameValue(node)) return {node->input(0)};
  std::vector<const jit::Value*> values;
  if (node->kind() == prim::If) {
    for (const jit::Block* block : node->blocks()) values.push_back(block->outputs().at(value->offset()));
    return values;
  }
  const auto element = elementOf(value);
  if (!element) return {};
  for (const jit::Value* whole : makersOf(node->input(0))) {
    const auto inputs = whole->node()->inputs();
    const int64_t count = static_cast<int64_t>(inputs.size());
    const int64_t at = *element < 0 ? *element + count : *element;
    if (!isSequence(whole->node()) || isChanged(whole) || at < 0 || at >= count) return {};
    values.push_back(inputs[at]);
  }
  return values;
}

// Keys and values in the order in which they are put in; empty where that cannot be told.
std::vector<std::pair<std::string, const jit::Value*>> entriesOf(const jit::Value* dict) {
  std::vector<std::pair<const jit::Value*, const jit::Value*>> pairs;
  const auto inputs = dict->node()->inputs();
  for (size_t i = 0; i + 1 < inputs.size(); i += 2) pairs.emplace_back(inputs[i], inputs[i + 1]);
  std::vector<const jit::Node*> sets;
  for (const jit::Use& use : dict->uses()) {
    if (isKind(use.user, "aten::_set_item") && use.offset == 0) sets.push_back(use.user);
  }
  std::sort(sets.begin(), sets.end(), [](const jit::Node* a, const jit::Node* b) { return a->isBefore(b); });
  for (const jit::Node* set : sets) pairs.emplace_back(set->input(1), set->input(2));
  std::vector<std::pair<std::string, const jit::Value*>> entries;
  for (const auto& [key, value] : pairs) {
    const auto name = jit::toIValue(key);
    if (!name || !name->isString()) return {};
    entries.emplace_back(name->toStringRef(), value);
  }
  return entries;
}

class Leaves {
 public:
  void add(const jit::Value* value, const OutputPlace& place, const std::string& name) {
    for (const jit::Value* maker : makersOf(value)) addMaker(maker, place, name);
  }

  std::vector<Output> found;

 private:
  void addMaker(const jit::Value* value, OutputPlace place, const std::string& name) {
    if (value->mustBeNone()) return;
    const jit::Node* node = value->node();
    const bool isTooDeep = place.size() >= kDeepest;
    const auto inner = [&](const std::string& step, const jit::Value* element, const std::string& own) {
      OutputPlace deeper = place;
      deeper.push_back(step);
      add(element, deeper, own);
    };
    if (isSequence(node) && !isChanged(value) && !isTooDeep) {
      const auto tuple = value->type()->cast<c10::TupleType>();
      const auto& names = tuple && tuple->schema() ? tuple->schema()->arguments() : std::vector<c10::Argument>{};
      for (size_t i = 0; i < node->inputs().size(); ++i) inner(std::to_string(i), node->input(i), i < names.size() ? names[i].name() : "");
      return;
    }
    if (node->kind() == prim::DictConstruct && !isTooDeep) {
      const auto entries = entriesOf(value);
      for (const auto& [key, element] : entries) inner(key, element, key);
      if (!entries.empty()) return;
    }
    const auto same = std::find_if(found.begin(), found.end(), [&](const Output& output) { return output.place == place; });
    if (same == found.end()) found.push_back({place, name, {value}});
    else same->values.push_back(value);
  }
};

std::optional<c10::IValue> elementAt(const c10::IValue& output, const std::string& step) {
  if (output.isGenericDict()) {
    for (const auto& entry : output.toGenericDict()) {
      if (entry.key().isString() && entry.key().toStringRef() == step) return entry.value();
    }
    return std::nullopt;
  }
  if (step.empty() || !std::all_of(step.begin(), step.end(), [](char c) { return c >= '0' && c <= '9'; }) || step.size() > 9) return std::nullopt;
  const size_t index = std::stoul(step);
  if (output.isTuple() && index < output.toTupleRef().elements().size()) return output.toTupleRef().elements()[index];
  if (output.isList() && index < output.toListRef().size()) return output.toListRef()[index];
  return std::nullopt;
}

at::Tensor asNumbers(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() && value.toTensor().is_floating_point() ? value.toTensor() : at::Tensor();
}

at::Tensor firstNumbers(const c10::IValue& output, size_t depth = 0) {
  if (depth > kDeepest) return {};
  std::vector<c10::IValue> elements;
  if (output.isTuple()) elements.assign(output.toTupleRef().elements().begin(), output.toTupleRef().elements().end());
  else if (output.isList()) elements.assign(output.toListRef().begin(), output.toListRef().end());
  else if (output.isGenericDict()) for (const auto& entry : output.toGenericDict()) elements.push_back(entry.value());
  else return asNumbers(output);
  for (const c10::IValue& element : elements) {
    const at::Tensor found = firstNumbers(element, depth + 1);
    if (found.defined()) return found;
  }
  return {};
}

}  // namespace

std::vector<Output> outputsOf(const jit::Graph& graph) {
  Leaves leaves;
  leaves.add(graph.outputs().at(0), {}, "");
  return std::move(leaves.found);
}

std::vector<const jit::Value*> makersOf(const jit::Value* value) {
  std::vector<const jit::Value*> found;
  std::unordered_set<const jit::Value*> seen;
  std::vector<const jit::Value*> open{value};
  while (!open.empty()) {
    const jit::Value* next = open.back();
    open.pop_back();
    if (!seen.insert(next).second) continue;
    const auto others = namedBy(next);
    if (others.empty()) found.push_back(next);
    open.insert(open.end(), others.rbegin(), others.rend());
  }
  return found;
}

std::vector<const jit::Value*> everIn(const jit::Value* list) {
  std::vector<const jit::Value*> values(list->node()->inputs().begin(), list->node()->inputs().end());
  for (const jit::Use& use : list->uses()) {
    if (use.offset != 0 || list->node()->kind() != prim::ListConstruct) continue;
    if (isKind(use.user, "aten::append")) values.push_back(use.user->input(1));
    if (isKind(use.user, "aten::insert") || isKind(use.user, "aten::_set_item")) values.push_back(use.user->input(2));
  }
  return values;
}

at::Tensor findOutput(const c10::IValue& output, const OutputPlace& place) {
  c10::IValue value = output;
  for (const std::string& step : place) {
    const auto inner = elementAt(value, step);
    if (!inner) return {};
    value = *inner;
  }
  return asNumbers(value);
}

at::Tensor outputAt(const c10::IValue& output, const OutputPlace& place) {
  if (output.isTensor()) return output.toTensor();
  const at::Tensor there = findOutput(output, place);
  const at::Tensor found = there.defined() ? there : firstNumbers(output);
  if (found.defined()) return found;
  throw Failure("MODEL_FAILED", "The model returns a " + output.tagKind() +
                                    " without a floating-point tensor. Training and evaluation need logits: a tensor, or a tuple, list or dict with one.");
}

}  // namespace torchgraft
