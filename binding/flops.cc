#include "flops.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/graph_task.h>

#include <memory>
#include <string>

#include "torch.h"

namespace torchgraft {

namespace {

thread_local int64_t counted = 0;

// Inputs are only there when an operation begins, outputs when it has ended.
struct Sum : at::ObserverContext {
  explicit Sum(int64_t terms) : terms(terms) {}
  // Products that are added up for one number of the output.
  int64_t terms;
};

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
  const std::string name = function.name();
  const bool convolution = name == "aten::_convolution";
  const bool sum = name == "aten::addmm" || name == "aten::baddbmm";
  if (!convolution && !sum && name != "aten::mm" && name != "aten::bmm") return nullptr;
  if (torch::autograd::get_current_graph_task_id() >= 0) return nullptr;  // in backward
  // An operation that the interpreter calls is shown its whole stack; its own inputs and outputs are the last.
  const auto stack = function.inputs();
  const size_t count = function.num_inputs();
  if (stack.size() < count) return nullptr;
  const auto inputs = stack.slice(stack.size() - count);
  // A convolution's weight; else the first factor, whose last dimension is summed over.
  const size_t at = convolution || sum ? 1 : 0;
  if (at >= inputs.size() || !inputs[at].isTensor()) return nullptr;
  const at::Tensor factor = inputs[at].toTensor();
  if (!factor.defined() || factor.dim() < 2 || factor.size(0) == 0) return nullptr;
  return std::make_unique<Sum>(convolution ? factor.numel() / factor.size(0) : factor.size(-1));
}

void end(const at::RecordFunction& function, at::ObserverContext* context) {
  const auto* sum = static_cast<const Sum*>(context);
  const auto& outputs = function.outputs();
  if (!sum || outputs.empty() || !outputs.back().isTensor() || !outputs.back().toTensor().defined()) return;
  counted += 2 * sum->terms * outputs.back().toTensor().numel();
}

}  // namespace

int64_t countFlops(const std::function<void()>& work) {
  counted = 0;
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(begin, end).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
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
