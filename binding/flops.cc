#include "flops.h"

#include <ATen/record_function.h>

#include <string>

#include "torch.h"

namespace torchgraft {

namespace {

thread_local int64_t counted = 0;

void count(const at::RecordFunction& function, at::ObserverContext*) {
  const auto inputs = function.inputs();
  const auto& outputs = function.outputs();
  if (inputs.size() < 2 || outputs.empty() || !outputs[0].isTensor() || !outputs[0].toTensor().defined()) return;
  const auto tensor = [&](size_t i) { return i < inputs.size() && inputs[i].isTensor() ? inputs[i].toTensor() : at::Tensor(); };
  const std::string name = function.name();
  const int64_t made = outputs[0].toTensor().numel();
  if (name == "aten::_convolution") {
    const at::Tensor weight = tensor(1);
    if (weight.defined() && weight.dim() > 0 && weight.size(0) > 0) counted += 2 * made * (weight.numel() / weight.size(0));
    return;
  }
  // The first factor's last dimension is what a matrix product sums over.
  const size_t first = name == "aten::addmm" || name == "aten::baddbmm" ? 1 : 0;
  const at::Tensor factor = tensor(first);
  if (factor.defined() && factor.dim() >= 2) counted += 2 * made * factor.size(-1);
}

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) { return nullptr; }

bool isCounted(const std::string& name) {
  return name == "aten::_convolution" || name == "aten::addmm" || name == "aten::mm" || name == "aten::bmm" || name == "aten::baddbmm";
}

void countIfArithmetic(const at::RecordFunction& function, at::ObserverContext* context) {
  if (isCounted(function.name())) count(function, context);
}

}  // namespace

int64_t countFlops(const std::function<void()>& work) {
  counted = 0;
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(begin, countIfArithmetic).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
  try {
    work();
  } catch (...) {
    at::removeCallback(handle);
    throw;
  }
  at::removeCallback(handle);
  return counted;
}

}  // namespace torchgraft
