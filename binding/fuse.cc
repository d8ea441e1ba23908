#include "fuse.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <optional>
#include <string>

#include "compile.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace aten = c10::aten;

const auto kPointwise = c10::Symbol::fromQualString("mkldnn::_convolution_pointwise");
const auto kConvolution = c10::Symbol::fromQualString("aten::_convolution");

struct Convolution {
  jit::Node* node;
  at::Tensor weight;
  std::vector<int64_t> stride, padding, dilation;
  int64_t groups;
};

// oneDNN's name of an activation, and its numbers.
struct Activation {
  std::string name = "none";
  std::vector<double> scalars;
};

template <class T>
std::optional<T> constantAt(const jit::Node* node, size_t input) {
  const auto value = jit::toIValue(node->input(input));
  return value ? std::optional<T>(value->to<T>()) : std::nullopt;
}

std::optional<Convolution> readConvolution(jit::Node* node) {
  const bool plain = node->matches("aten::conv2d(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, int[2] padding=0, int[2] dilation=1, int groups=1) -> Tensor");
  if (!plain && node->kind() != kConvolution) return std::nullopt;
  const auto weight = jit::toIValue(node->input(1));
  const auto bias = jit::toIValue(node->input(2));
  if (!weight || !bias || !weight->isTensor()) return std::nullopt;
  Convolution found{node, weight->toTensor(), {}, {}, {}, 0};
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

// The one node that uses a value; none where several do.
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

class Fuser {
 public:
  explicit Fuser(jit::Graph& graph) : graph_(graph) {}

  void run(const std::vector<Convolution>& convolutions) {
    for (const Convolution& convolution : convolutions) replace(convolution);
    // From the last: what was fused has no uses once its user is gone.
    for (auto node = done_.rbegin(); node != done_.rend(); ++node) (*node)->destroy();
  }

 private:
  // The node that alone uses `last`, when it can be fused behind it.
  jit::Node* follower(const jit::Node* last) {
    jit::Node* user = onlyUser(last->output());
    return user && user->owningBlock() == last->owningBlock() ? user : nullptr;
  }

  // Convolution, then perhaps a sum with another tensor, then perhaps an activation: one node in the place of the last.
  void replace(const Convolution& convolution) {
    jit::Node* last = convolution.node;
    jit::Value* other = nullptr;
    Activation activation;
    done_.push_back(last);
    const auto absorb = [&](jit::Node* next) {
      last = next;
      done_.push_back(next);
    };
    jit::Node* user = follower(last);
    // Where the sum is written into the other term, and that is read again, it must be.
    const bool isRead = user && user->kind() == aten::add_ && user->input(0) != last->output() && user->input(0)->uses().size() > 1;
    if (user && isSum(user) && !isRead) {
      other = user->input(user->input(0) == last->output() ? 1 : 0);
      absorb(user);
      user = follower(last);
    }
    if (user) {
      // Behind a sum oneDNN's binding knows relu alone.
      auto found = readActivation(user);
      if (found && (!other || found->name == "relu")) {
        activation = *found;
        absorb(user);
      }
    }
    jit::WithInsertPoint point(last);
    jit::Node* fused = graph_.create(kPointwise, inputsOf(convolution, other, activation));
    fused->output()->setType(c10::TensorType::get());
    graph_.insertNode(fused);
    last->output()->replaceAllUsesWith(fused->output());
  }

  std::vector<jit::Value*> inputsOf(const Convolution& convolution, jit::Value* other, const Activation& activation) {
    const auto constant = [this](const c10::IValue& value) { return graph_.insertConstant(value); };
    const jit::Node* old = convolution.node;
    std::vector<jit::Value*> inputs{old->input(0)};
    if (other) inputs.push_back(other);
    for (jit::Value* value : {addWeight(), old->input(2), constant(convolution.padding), constant(convolution.stride),
                              constant(convolution.dilation), constant(convolution.groups)}) {
      inputs.push_back(value);
    }
    if (other) {
      inputs.push_back(constant(std::string("add")));
      inputs.push_back(constant(1.0));
    }
    inputs.push_back(other && activation.name == "none" ? constant(c10::IValue()) : constant(activation.name));
    inputs.push_back(insertScalars(activation.scalars));
    inputs.push_back(constant(std::string()));
    return inputs;
  }

  jit::Value* insertScalars(const std::vector<double>& numbers) {
    std::vector<jit::Value*> values;
    for (double number : numbers) values.push_back(graph_.insertConstant(number));
    const auto element = c10::OptionalType::create(c10::NumberType::get());
    jit::Node* list = graph_.createList(element, values);
    return graph_.insertNode(list)->output();
  }

  jit::Value* addWeight() {
    jit::Value* input = graph_.addInput();
    input->setType(c10::TensorType::get());
    return input;
  }

  jit::Graph& graph_;
  std::vector<jit::Node*> done_;
};

}  // namespace

FusedConvolutions::FusedConvolutions(const std::shared_ptr<jit::Graph>& graph) {
  std::vector<Convolution> convolutions;
  for (jit::Node* node : graph->nodes()) {
    if (auto found = readConvolution(node)) convolutions.push_back(std::move(*found));
  }
  const size_t own = graph->outputs().size();
  for (const Convolution& convolution : convolutions) graph->registerOutput(convolution.node->input(0));
  probe_ = graph->copy();
  while (graph->outputs().size() > own) graph->eraseOutput(own);
  for (size_t i = 0; i < own; ++i) probe_->eraseOutput(0);
  jit::EliminateDeadCode(probe_);
  for (const Convolution& c : convolutions) weights_.push_back({c.weight, c.stride, c.padding, c.dilation, c.groups});
  Fuser(*graph).run(convolutions);
  jit::EliminateDeadCode(graph);
}

std::vector<at::Tensor> FusedConvolutions::pack(const std::vector<at::Tensor>& inputs) const {
  static const auto reorder = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_convolution_weight", "");
  std::vector<at::Tensor> packed;
  if (weights_.empty()) return packed;
  const auto met = interpret(jit::Code(probe_, "probe"), {inputs.begin(), inputs.end()});
  for (size_t i = 0; i < weights_.size(); ++i) {
    const Weight& weight = weights_[i];
    jit::Stack stack{weight.value, weight.padding, weight.stride, weight.dilation, weight.groups, met.at(i).toTensor().sizes().vec()};
    reorder.callBoxed(stack);
    packed.push_back(stack.at(0).toTensor());
  }
  return packed;
}

}  // namespace torchgraft
