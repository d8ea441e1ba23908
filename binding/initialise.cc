#include "initialise.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "standardiser.h"

namespace torchgraft {

namespace {

// Drawn on the CPU, so that a seed gives the same weights on every device.
void fillUniform(at::Tensor target, double bound, at::Generator& generator) {
  at::Tensor drawn = at::empty(target.sizes(), target.options().device(at::kCPU).memory_format(at::MemoryFormat::Contiguous));
  target.copy_(drawn.uniform_(-bound, bound, generator));
}

at::Tensor tensorAttribute(const torch::jit::Module& module, const char* name) {
  if (!module.hasattr(name) || !module.attr(name).isTensor()) return {};
  return module.attr(name).toTensor();
}

void resetNorm(const torch::jit::Module& module, at::Tensor weight, at::Tensor bias) {
  if (weight.defined()) weight.fill_(1);
  if (bias.defined()) bias.zero_();
  if (auto mean = tensorAttribute(module, "running_mean"); mean.defined()) mean.zero_();
  if (auto variance = tensorAttribute(module, "running_var"); variance.defined()) variance.fill_(1);
  if (auto count = tensorAttribute(module, "num_batches_tracked"); count.defined()) count.zero_();
}

}  // namespace

at::Generator seededGenerator(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

void initialiseLayer(at::Tensor weight, at::Tensor bias, at::Generator& generator) {
  at::NoGradGuard guard;
  const int64_t fanIn = weight.numel() / std::max<int64_t>(1, weight.size(0));
  const double bound = fanIn > 0 ? 1.0 / std::sqrt(static_cast<double>(fanIn)) : 0.0;
  fillUniform(weight, bound, generator);
  if (bias.defined()) fillUniform(bias, bound, generator);
}

void initialiseLayers(const torch::jit::Module& module, uint64_t seed) {
  at::NoGradGuard guard;
  at::Generator generator = seededGenerator(seed);
  for (const auto& layer : module.modules()) {
    const auto name = layer.type()->name();
    const std::string type = name ? name->name() : "";
    at::Tensor weight = tensorAttribute(layer, "weight");
    at::Tensor bias = tensorAttribute(layer, "bias");
    if (isStandardiser(layer)) {
      tensorAttribute(layer, "mean").zero_();
      tensorAttribute(layer, "std").fill_(1);
    } else if (type.find("Norm") != std::string::npos) {
      resetNorm(layer, weight, bias);
    } else if (type.find("Embedding") != std::string::npos && weight.defined()) {
      weight.normal_(0, 1, generator);
    } else if (weight.defined() && weight.dim() >= 2) {
      initialiseLayer(weight, bias, generator);
    }
  }
}

}  // namespace torchgraft
