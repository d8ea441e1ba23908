#include "grafts.h"

#include <string_view>

#include "new_module.h"
#include "node_facts.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

bool isKind(const jit::Node* node, std::string_view name) { return node->kind().toQualString() == name; }

// The attribute of a module that makeModule() made.
bool reads(const jit::Value* value, const std::string& className, std::string_view attribute) {
  const jit::Node* node = value->node();
  if (node->kind() != c10::prim::GetAttr || node->s(c10::attr::name) != attribute) return false;
  const auto type = node->input()->type()->cast<c10::ClassType>();
  return type && isMadeAs(*type, className);
}

}  // namespace

bool isLowRankSum(const jit::Node* node) {
  if (!isKind(node, "aten::add")) return false;
  const jit::Node* update = node->input(1)->node();
  if (isKind(update, "aten::view")) update = update->input(0)->node();
  if (!isKind(update, "aten::mul")) return false;
  const jit::Node* product = update->input(0)->node();
  return isKind(product, "aten::mm") && reads(product->input(0), "LoraAdapter", "lora_B");
}

bool isCosineProduct(const jit::Node* node) {
  return isKind(node, "aten::mul") && node->inputs().size() == 2 && isKind(node->input(0)->node(), "aten::div") && reads(node->input(1), "CosineHead", "scale");
}

const jit::Value* bareWeight(const jit::Value* value) {
  if (isLowRankSum(value->node())) return bareWeight(value->node()->input(0));
  if (isCosineProduct(value->node())) return bareWeight(value->node()->input(0)->node()->input(0));
  return value;
}

const jit::Value* untransposed(const jit::Value* value) {
  return isKind(value->node(), "aten::t") || isKind(value->node(), "aten::transpose") ? value->node()->input(0) : value;
}

std::string weightOf(const std::string& layer) { return layer.empty() ? "weight" : layer + ".weight"; }

std::vector<WeightUse> usesOf(jit::Graph& graph, const Paths& paths, const std::string& layer) {
  const std::string weight = weightOf(layer);
  std::vector<WeightUse> uses;
  eachNode(graph.block(), [&](jit::Node* node) {
    const auto operands = layerOperands(node);
    if (!operands) return;
    const std::string* path = weightPath(paths, node->input(operands->weight));
    if (path && *path == weight) uses.push_back({node, operands->input, operands->weight});
  });
  return uses;
}

jit::Value* insertRead(jit::Graph& graph, const std::string& path) {
  jit::Value* value = graph.inputs().at(0);
  for (size_t from = 0; from < path.size();) {
    size_t dot = path.find('.', from);
    if (dot == std::string::npos) dot = path.size();
    value = graph.insertGetAttr(value, path.substr(from, dot - from));
    from = dot + 1;
  }
  return value;
}

size_t wrapReads(jit::Graph& graph, const jit::Module& module, const std::string& path, const std::string& child) {
  std::vector<jit::Node*> found;
  const Paths paths(graph);
  const at::Tensor wanted = attributeAt(module, path).toTensor();
  eachNode(graph.block(), [&](jit::Node* node) {
    const std::string* read = node->kind() == c10::prim::GetAttr ? paths.of(node->output()) : nullptr;
    if (!read) return;
    const c10::IValue value = attributeAt(module, *read);
    if (value.isTensor() && value.toTensor().is_same(wanted)) found.push_back(node);
  });
  const auto& schema = attributeAt(module, child).toModule().get_method("forward").function().getSchema();
  for (jit::Node* node : found) {
    const auto uses = node->output()->uses();
    jit::WithInsertPoint point(node->next());
    jit::Value* self = insertRead(graph, child);
    jit::Value* result = graph.insertMethodCall("forward", jit::matchSchema(schema, jit::SourceRange(), graph, {self, node->output()}, {}));
    for (const jit::Use& use : uses) use.user->replaceInput(use.offset, result);
  }
  return found.size();
}

}  // namespace torchgraft
