#include "fuse.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include "compile.h"
#include "convolution.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace aten = c10::aten;

const auto kPointwise = c10::Symbol::fromQualString("mkldnn::_convolution_pointwise");

class Fuser {
 public:
  explicit Fuser(jit::Graph& graph) : graph_(graph) {}

  void run(const std::vector<Convolution>& convolutions) {
    for (const Convolution& convolution : convolutions) replace(convolution);
    // From the last: what was fused has no uses once its user is gone.
    for (auto node = done_.rbegin(); node != done_.rend(); ++node) (*node)->destroy();
  }

 private:
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

std::vector<c10::IValue> FusedConvolutions::pack(const std::vector<at::Tensor>& inputs) const {
  static const auto reorder = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_convolution_weight", "");
  std::vector<c10::IValue> packed;
  if (weights_.empty()) return packed;
  const auto met = interpret(jit::Code(probe_, "probe"), {inputs.begin(), inputs.end()});
  for (size_t i = 0; i < weights_.size(); ++i) {
    const Weight& weight = weights_[i];
    jit::Stack stack{weight.value, weight.padding, weight.stride, weight.dilation, weight.groups, met.at(i).toTensor().sizes().vec()};
    reorder.callBoxed(stack);
    packed.push_back(stack.at(0));
  }
  return packed;
}

}  // namespace torchgraft
