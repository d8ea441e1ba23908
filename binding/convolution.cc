#include "convolution.h"

namespace torchgraft {

namespace jit = torch::jit;
namespace aten = c10::aten;

namespace {

const auto kConvolution = c10::Symbol::fromQualString("aten::_convolution");

template <class T>
std::optional<T> constantAt(const jit::Node* node, size_t input) {
  const auto value = jit::toIValue(node->input(input));
  return value ? std::optional<T>(value->to<T>()) : std::nullopt;
}

}  // namespace

std::optional<Convolution> readConvolution(jit::Node* node) {
  const bool plain = node->matches("aten::conv2d(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, int[2] padding=0, int[2] dilation=1, int groups=1) -> Tensor");
  if (!plain && node->kind() != kConvolution) return std::nullopt;
  const auto weight = jit::toIValue(node->input(1));
  const auto bias = jit::toIValue(node->input(2));
  if (!weight || !bias || !weight->isTensor()) return std::nullopt;
  Convolution found{node, weight->toTensor(), bias->toOptional<at::Tensor>(), {}, {}, {}, 0};
  if (found.weight.dim() != 4) return std::nullopt;
  // _convolution has `transposed` and `output_padding` before groups.
  if (!plain && constantAt<bool>(node, 6).value_or(true)) return std::nullopt;
  const auto stride = constantAt<std::vector<int64_t>>(node, 3);
  const auto padding = constantAt<std::vector<int64_t>>(node, 4);
  const auto dilation = constantAt<std::vector<int64_t>>(node, 5);
  const auto groups = constantAt<int64_t>(node, plain ? 6 : 8);
  if (!stride || !padding || !dilation || !groups) return std::nullopt;
  const auto two = [](const std::vector<int64_t>& list) { return list.size() == 1 ? std::vector<int64_t>{list[0], list[0]} : list; };
  found.stride = two(*stride);
  found.padding = two(*padding);
  found.dilation = two(*dilation);
  found.groups = *groups;
  return found;
}

jit::Node* onlyUser(const jit::Value* value) { return value->uses().size() == 1 ? value->uses()[0].user : nullptr; }

std::optional<Activation> readActivation(const jit::Node* node) {
  const std::string name = node->kind().toUnqualString();
  if (node->kind().is_aten()) {
    const std::string plain = !name.empty() && name.back() == '_' ? name.substr(0, name.size() - 1) : name;
    if (plain == "relu" || plain == "sigmoid" || plain == "tanh" || plain == "hardswish") return Activation{plain, {}};
    if (plain == "silu") return Activation{"swish", {}};
    if (plain == "relu6") return Activation{"hardtanh", {0, 6}};
    if (plain == "hardtanh") {
      const auto low = constantAt<double>(node, 1);
      const auto high = constantAt<double>(node, 2);
      if (low && high) return Activation{plain, {*low, *high}};
    }
    if (plain == "leaky_relu") {
      if (const auto slope = constantAt<double>(node, 1)) return Activation{plain, {*slope}};
    }
  }
  return std::nullopt;
}

bool isSum(const jit::Node* node) {
  if (node->kind() != aten::add && node->kind() != aten::add_) return false;
  const auto isTensor = [](const jit::Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); };
  if (node->inputs().size() != 3 || !isTensor(node->input(0)) || !isTensor(node->input(1))) return false;
  const auto alpha = jit::toIValue(node->input(2));
  return alpha && alpha->isScalar() && alpha->toScalar().toDouble() == 1;
}

jit::Node* follower(const jit::Node* last) {
  jit::Node* user = onlyUser(last->output());
  return user && user->owningBlock() == last->owningBlock() ? user : nullptr;
}

}  // namespace torchgraft
