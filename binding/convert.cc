#include "convert.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>

#include "graph_paths.h"
#include "module_graphs.h"
#include "precision.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace prim = c10::prim;

bool isCallToGpu(const jit::Node* node) { return node->kind().toQualString() == std::string("aten::cuda"); }

bool isOtherPrecision(at::ScalarType type) { return type == at::kHalf || type == at::kBFloat16 || type == at::kDouble; }

std::set<at::ScalarType> precisionsOf(const jit::Module& module) {
  std::set<at::ScalarType> found;
  for (const at::Tensor& parameter : module.parameters()) {
    if (isOtherPrecision(parameter.scalar_type())) found.insert(parameter.scalar_type());
  }
  return found;
}

class Converter {
 public:
  Converter(jit::Module& module, const at::Device& device) : module_(module), device_(device), precisions_(precisionsOf(module)) {}

  Conversion run() {
    if (!precisions_.empty()) convertAttributes();
    for (jit::Graph* graph : graphsOf(module_)) convert(*graph);
    convertFlags();
    Conversion conversion;
    for (const at::ScalarType type : precisions_) conversion.precisions.push_back(dtypeName(type));
    conversion.moved = moved_;
    return conversion;
  }

 private:
  at::Tensor converted(const at::Tensor& tensor) {
    // Tied tensors stay one.
    auto& result = converted_[tensor.unsafeGetTensorImpl()];
    if (!result.defined()) result = tensor.detach().to(at::kFloat).set_requires_grad(tensor.requires_grad());
    return result;
  }

  void convertAttributes() {
    for (jit::Module part : module_.modules()) {
      for (size_t slot = 0; slot < part.type()->numAttributes(); ++slot) {
        const c10::IValue value = part._ivalue()->getSlot(slot);
        if (value.isTensor() && value.toTensor().defined() && isOtherPrecision(value.toTensor().scalar_type())) part._ivalue()->setSlot(slot, converted(value.toTensor()));
      }
    }
  }

  void convert(jit::Graph& graph) {
    std::vector<jit::Node*> nodes;
    eachNode(graph.block(), [&](jit::Node* node) { nodes.push_back(node); });
    for (jit::Node* node : nodes) {
      convertConstant(graph, node);
      convertArguments(graph, node);
      if (isCallToGpu(node) && !device_.is_cuda()) {
        node->output()->replaceAllUsesWith(node->input(0));
        moved_ = true;
      }
    }
  }

  // Numbers that code passes as a precision, such as `self.dtype`.
  void convertFlags() {
    for (const jit::Module& part : module_.modules()) {
      for (const auto& [type, name] : flags_) {
        if (*part.type() != *type || !part.attr(name).isInt()) continue;
        if (precisions_.count(static_cast<at::ScalarType>(part.attr(name).toInt()))) part._ivalue()->setAttr(name, static_cast<int64_t>(at::kFloat));
      }
    }
  }

  void replace(jit::Graph& graph, jit::Node* user, size_t input, const c10::IValue& value) {
    jit::WithInsertPoint point(user);
    user->replaceInput(input, graph.insertConstant(value));
  }

  void convertConstant(jit::Graph& graph, jit::Node* node) {
    if (node->kind() != prim::Constant || precisions_.empty()) return;
    const auto value = jit::toIValue(node->output());
    if (!value || !value->isTensor() || precisions_.count(value->toTensor().scalar_type()) == 0) return;
    jit::WithInsertPoint point(node);
    node->output()->replaceAllUsesWith(graph.insertConstant(value->toTensor().to(at::kFloat)));
  }

  // A number is a precision or not by what it is passed as, so each use gets a constant of its own.
  void convertArguments(jit::Graph& graph, jit::Node* node) {
    const auto* schema = node->maybeSchema();
    for (size_t i = 0; schema && i < node->inputs().size() && i < schema->arguments().size(); ++i) {
      const std::string& name = schema->arguments()[i].name();
      const jit::Node* given = node->input(i)->node();
      if (name == "dtype" && given->kind() == prim::GetAttr) flags_.emplace_back(given->input()->type(), given->s(c10::attr::name));
      const auto value = given->kind() == prim::Constant ? jit::toIValue(node->input(i)) : std::nullopt;
      if (!value) continue;
      if (name == "dtype" && value->isInt() && precisions_.count(static_cast<at::ScalarType>(value->toInt()))) {
        replace(graph, node, i, static_cast<int64_t>(at::kFloat));
      }
      if (value->isDevice() && isElsewhere(value->toDevice())) {
        replace(graph, node, i, device_);
        moved_ = true;
      }
    }
  }

  // A place that is not there, or that a traced model keeps of where it was traced.
  bool isElsewhere(const at::Device& device) const {
    if (device.is_cuda()) return !device_.is_cuda();
    return device.is_cpu() && device_.is_cuda();
  }

  jit::Module& module_;
  at::Device device_;
  std::set<at::ScalarType> precisions_;
  std::unordered_map<const c10::TensorImpl*, at::Tensor> converted_;
  // Attributes that are passed as a precision: of which class, and their names.
  std::vector<std::pair<c10::TypePtr, std::string>> flags_;
  bool moved_ = false;
};

}  // namespace

Conversion convertToFloat(jit::Module& module, const at::Device& device) { return Converter(module, device).run(); }

std::vector<std::string> quantisedParts(const jit::Module& module) {
  std::vector<std::string> parts;
  for (const auto& entry : module.named_modules()) {
    for (size_t slot = 0; slot < entry.value.type()->numAttributes(); ++slot) {
      const c10::IValue value = entry.value._ivalue()->getSlot(slot);
      const auto name = value.isObject() ? value.type()->cast<c10::ClassType>() : nullptr;
      const bool isPacked = name && name->name() && name->name()->qualifiedName().find("classes.quantized") != std::string::npos;
      const bool isQuantised = value.isTensor() && value.toTensor().defined() && value.toTensor().is_quantized();
      if ((isPacked || isQuantised) && (parts.empty() || parts.back() != entry.name)) parts.push_back(entry.name);
    }
  }
  if (!parts.empty()) return parts;
  for (const jit::Graph* graph : graphsOf(module)) {
    eachNode(graph->block(), [&](const jit::Node* node) {
      const std::string kind = node->kind().toQualString();
      if (kind.rfind("quantized::", 0) == 0 && std::find(parts.begin(), parts.end(), kind) == parts.end()) parts.push_back(kind);
    });
  }
  return parts;
}

}  // namespace torchgraft
