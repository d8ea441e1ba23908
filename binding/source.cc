#include "source.h"

#include <torch/csrc/autograd/autograd.h>

#include "failure.h"
#include "graph.h"
#include "initialise.h"
#include "trainer.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// Lets every floating-point parameter have a gradient, and puts back what learns.
class EveryGradient {
 public:
  explicit EveryGradient(Model& model) : model_(model) {
    for (const auto& [name, tensor] : model_.parameters()) {
      if (!tensor.is_floating_point()) continue;
      names.push_back(name);
      parameters.push_back(tensor);
      at::Tensor(tensor).set_requires_grad(true);
    }
  }
  ~EveryGradient() {
    for (size_t i = 0; i < names.size(); ++i) parameters[i].set_requires_grad(model_.isTrainable(names[i]));
  }
  EveryGradient(const EveryGradient&) = delete;
  EveryGradient& operator=(const EveryGradient&) = delete;

  std::vector<std::string> names;
  std::vector<at::Tensor> parameters;

 private:
  Model& model_;
};

at::Tensor labelOf(const at::Tensor& target, int64_t row, int64_t classes) {
  const at::Tensor label = target.narrow(0, row, 1).to(at::kLong);
  const int64_t index = label.item<int64_t>();
  if (index < 0 || index >= classes) {
    throw Failure("SHAPE_MISMATCH", "A label is " + std::to_string(index) + ", but the model has " + std::to_string(classes) +
                                        " outputs (0 to " + std::to_string(classes - 1) + ").");
  }
  return label;
}

// The wide values become the layer's, with what learns as it was.
void setHead(Model& model, jit::Module layer, const at::Tensor& weight, const at::Tensor& bias) {
  const auto learned = model.trainable();
  const bool trainsBatchNorm = model.trainsBatchNorm();
  layer.setattr("weight", weight.detach().clone().set_requires_grad(true));
  if (bias.defined()) layer.setattr("bias", bias.detach().clone().set_requires_grad(true));
  for (const char* count : {"out_features", "out_channels"}) {
    if (layer.type()->hasAttribute(count) && layer.attr(count).isInt()) layer.setattr(count, weight.size(0));
  }
  model.refresh();
  model.setTrainable(learned, trainsBatchNorm);
}

at::Tensor biasOf(const jit::Module& layer) {
  if (!layer.hasattr("bias") || !layer.attr("bias").isTensor()) return {};
  return layer.attr("bias").toTensor();
}

}  // namespace

Source::Source(const Model& model) {
  at::NoGradGuard guard;
  for (const auto& [name, tensor] : model.parameters()) tensors_[name] = tensor.detach().clone();
  for (const auto& [name, tensor] : model.buffers()) tensors_[name] = tensor.detach().clone();
}

at::Tensor Source::like(const std::string& name, const at::Tensor& tensor) const {
  const auto found = tensors_.find(name);
  const bool fits = found != tensors_.end() && found->second.sizes() == tensor.sizes() && found->second.scalar_type() == tensor.scalar_type();
  return fits ? found->second : at::Tensor();
}

const at::Tensor& Source::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw Failure("INVALID_VALUE", "The source has no parameter or buffer named '" + name + "'.");
  return found->second;
}

void Source::addFisher(Model& model, const std::vector<at::Tensor>& inputs, const at::Tensor& target, uint64_t seed) {
  model.checkInputs(inputs.size());
  const int64_t count = inputs.at(0).dim() > 0 ? inputs[0].size(0) : 0;
  const bool isLabelled = target.defined();
  if (isLabelled && (target.dim() != 1 || target.size(0) != count || !at::isIntegralType(target.scalar_type(), false))) {
    throw Failure("SHAPE_MISMATCH", "The labels must be class indices [" + std::to_string(count) + "]; " + c10::str(target.sizes()) + " came.");
  }
  const EveryGradient every(model);
  model.setTraining(false);
  for (int64_t row = 0; row < count; ++row) {
    std::vector<at::Tensor> sample;
    for (const at::Tensor& input : inputs) sample.push_back(input.narrow(0, row, 1).clone());
    at::AutoGradMode gradients(true);
    const at::Tensor output = model.mainOutput(model.run(sample));
    if (output.dim() != 2) throw Failure("MODEL_FAILED", "The Fisher information is of outputs [n, classes]; the model gives " + c10::str(output.sizes()) + ".");
    const at::Tensor logProbability = at::log_softmax(output.to(at::kFloat), 1);
    at::Generator generator = seededGenerator(seed * 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(samples_));
    const at::Tensor label = isLabelled ? labelOf(target, row, output.size(1))
                                        : at::multinomial(logProbability.detach().exp().cpu(), 1, true, generator).view({1});
    const auto found = torch::autograd::grad({logProbability.index_select(1, label.to(output.device())).sum()}, every.parameters, {}, std::nullopt, false, true);
    for (size_t i = 0; i < found.size(); ++i) {
      if (!found[i].defined()) continue;
      at::Tensor& squares = squares_[every.names[i]];
      if (!squares.defined()) squares = at::zeros_like(found[i]);
      squares.addcmul_(found[i], found[i]);
    }
    ++samples_;
  }
}

at::Tensor Source::fisher(const std::string& name) const {
  const auto found = squares_.find(name);
  return found == squares_.end() ? at::Tensor() : found->second / static_cast<double>(samples_);
}

void joinSourceHead(Model& model, const Source& source, const std::string& path) {
  at::NoGradGuard guard;
  jit::Module layer = submodule(model.module(), path);
  const auto head = headAt(model.module(), path);
  if (!head) throw Failure("NO_HEAD", "'" + path + "' is not a Linear or Conv2d layer.");
  const at::Tensor weight = layer.attr("weight").toTensor();
  const at::Tensor old = source.at(path + ".weight");
  if (old.dim() != weight.dim() || old.sizes().slice(1) != weight.sizes().slice(1)) {
    throw Failure("NO_HEAD", "The source's head " + c10::str(old.sizes()) + " does not take in what the new one " + c10::str(weight.sizes()) + " does.");
  }
  const at::Tensor bias = biasOf(layer);
  setHead(model, layer, at::cat({weight, old}), bias.defined() ? at::cat({bias, source.at(path + ".bias")}) : bias);
}

void partSourceHead(Model& model, const std::string& path, int64_t outputs) {
  at::NoGradGuard guard;
  jit::Module layer = submodule(model.module(), path);
  if (!headAt(model.module(), path)) throw Failure("NO_HEAD", "'" + path + "' is not a Linear or Conv2d layer.");
  const at::Tensor weight = layer.attr("weight").toTensor();
  if (weight.size(0) <= outputs) {
    throw Failure("NO_HEAD", "'" + path + "' has " + std::to_string(weight.size(0)) + " outputs, none beyond the first " + std::to_string(outputs) + ".");
  }
  const at::Tensor bias = biasOf(layer);
  setHead(model, layer, weight.narrow(0, 0, outputs), bias.defined() ? bias.narrow(0, 0, outputs) : bias);
}

}  // namespace torchgraft
