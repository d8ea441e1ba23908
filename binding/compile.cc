#include "compile.h"

#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/passes/remove_dropout.h>
#include <torch/csrc/jit/passes/remove_mutation.h>

#include <utility>

#include "failure.h"
#include "fold_norm.h"
#include "fuse.h"
#include "graph_paths.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// Weights in another precision: the operations follow their inputs.
void convertConstants(jit::Graph& graph, at::ScalarType dtype) {
  std::vector<jit::Node*> constants;
  eachNode(graph.block(), [&](jit::Node* node) {
    if (node->kind() != c10::prim::Constant || !node->output()->type()->isSubtypeOf(*c10::TensorType::get())) return;
    const auto value = jit::toIValue(node->output());
    if (value && value->isTensor() && value->toTensor().scalar_type() == at::kFloat) constants.push_back(node);
  });
  for (jit::Node* node : constants) {
    jit::WithInsertPoint point(node);
    const at::Tensor value = jit::toIValue(node->output())->toTensor();
    node->output()->replaceAllUsesWith(graph.insertConstant(value.to(dtype)));
  }
}

// Four-dimensional float weights in channels-last, as the activations are, so that no convolution reorders them.
void useChannelsLast(jit::Graph& graph) {
  eachNode(graph.block(), [](jit::Node* node) {
    if (node->kind() != c10::prim::Constant || !node->hasAttribute(c10::attr::value) || node->kindOf(c10::attr::value) != jit::AttributeKind::t) return;
    const at::Tensor value = node->t(c10::attr::value);
    if (value.dim() == 4 && value.is_floating_point()) node->t_(c10::attr::value, value.contiguous(at::MemoryFormat::ChannelsLast));
  });
}

std::shared_ptr<jit::Graph> prepare(const std::shared_ptr<jit::Graph>& source, const CompileOptions& options) {
  auto graph = source->copy();
  if (options.fold) {
    removeDimensionChecks(graph);
    jit::RemoveTensorMutation(graph);
    jit::removeDropout(graph);
    jit::OptimizeFrozenGraph(graph);
    jit::ConstantPropagation(graph);
  }
  if (options.dtype != at::kFloat) convertConstants(*graph, options.dtype);
  useChannelsLast(*graph);
  jit::EliminateDeadCode(graph);
  return graph;
}

// Pixels and channels of a pass through the graph on a processor, 8 images of 224 x 224: their activations fit its
// cache, and memory stays small. Smaller images go through in larger numbers, or starting an operation costs more than
// the operation.
constexpr int64_t kChunkElements = 8 * 3 * 224 * 224;

int64_t chunkOf(const at::Tensor& input) {
  if (input.dim() == 0 || input.size(0) == 0) return 0;
  return std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, input.numel() / input.size(0)));
}

}  // namespace

std::vector<std::pair<std::string, CompileOptions>> compilations(const at::Device& device, const at::Tensor& input, at::ScalarType dtype) {
  const int64_t chunk = device.is_cpu() ? chunkOf(input) : 0;
  std::vector<std::pair<std::string, CompileOptions>> ways;
  const bool fuses = device.is_cpu() && at::globalContext().userEnabledMkldnn() && at::globalContext().hasMKLDNN();
  if (fuses) ways.emplace_back("fused", CompileOptions{dtype, true, true, chunk, {}});
  ways.emplace_back("folded", CompileOptions{dtype, true, false, chunk, {}});
  if (dtype == at::kFloat) ways.emplace_back("exact", CompileOptions{dtype, false, false, chunk, {}});
  return ways;
}

Compiled::Compiled(const std::shared_ptr<jit::Graph>& graph, CompileOptions options) : options_(std::move(options)) {
  torch::NoGradGuard guard;
  graph_ = prepare(graph, options_);
  if (options_.fuse) fused_.emplace(graph_);
  if (!options_.samples.empty()) {
    quantised_.emplace(graph_, std::exchange(options_.samples, {}));
    if (!quantised_->any()) throw Failure("INVALID_VALUE", "optimise: the model has no convolution that could be computed in 8 bits. Take precision float32.");
  }
  code_ = jit::Code(graph_, "prefix");
}

std::vector<at::Tensor> Compiled::converted(const std::vector<at::Tensor>& inputs) const {
  std::vector<at::Tensor> result;
  for (const at::Tensor& input : inputs) result.push_back(input.scalar_type() == at::kFloat ? input.to(options_.dtype) : input);
  return result;
}

void Compiled::useEngine(at::QEngine engine) {
  engine_ = engine;
  packedForOne_.clear();
  packedForMany_.clear();
}

std::vector<c10::IValue> Compiled::pack(const std::vector<at::Tensor>& inputs) const {
  return quantised_ ? quantised_->pack(engine_) : fused_->pack(inputs);
}

std::vector<c10::IValue> Compiled::runOnce(const std::vector<at::Tensor>& inputs) const {
  const auto own = converted(inputs);
  std::vector<c10::IValue> stack(own.begin(), own.end());
  if (fused_ || quantised_) {
    auto& packed = own.empty() || own[0].dim() == 0 || own[0].size(0) > 1 ? packedForMany_ : packedForOne_;
    if (packed.empty()) packed = pack(own);
    stack.insert(stack.end(), packed.begin(), packed.end());
  }
  auto outputs = interpret(code_, std::move(stack));
  if (options_.dtype == at::kFloat) return outputs;
  for (c10::IValue& output : outputs) {
    if (output.isTensor() && output.toTensor().scalar_type() == options_.dtype) output = output.toTensor().to(at::kFloat);
  }
  return outputs;
}

std::vector<c10::IValue> Compiled::run(const std::vector<at::Tensor>& inputs) const {
  torch::NoGradGuard guard;
  const int64_t count = inputs.empty() || inputs[0].dim() == 0 ? 0 : inputs[0].size(0);
  if (options_.chunk == 0 || count <= options_.chunk) return runOnce(inputs);
  std::vector<std::vector<at::Tensor>> parts;
  for (int64_t from = 0; from < count; from += options_.chunk) {
    std::vector<at::Tensor> slices;
    for (const at::Tensor& input : inputs) slices.push_back(input.narrow(0, from, std::min(options_.chunk, count - from)));
    const auto outputs = runOnce(slices);
    parts.resize(outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) parts[i].push_back(outputs[i].toTensor());
  }
  std::vector<c10::IValue> whole;
  for (const auto& part : parts) whole.emplace_back(at::cat(part));
  return whole;
}

std::vector<c10::IValue> interpret(const jit::Code& code, std::vector<c10::IValue> inputs) {
  jit::InterpreterState(code).run(inputs);
  return inputs;
}

}  // namespace torchgraft
