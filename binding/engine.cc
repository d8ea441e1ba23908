#include "engine.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include "content_hash.h"
#include "fold_norm.h"
#include "graph_paths.h"
#include "precision.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// The graph's text names operations and their order; the tensors in it are hashed by value.
std::string hashOf(const jit::Graph& graph, const std::string& precision) {
  ContentHash hash;
  hash.add(precision);
  eachNode(graph.block(), [&](const jit::Node* node) {
    hash.add(node->kind().toQualString());
    for (const jit::Value* input : node->inputs()) hash.add(std::to_string(input->unique()));
    for (const jit::Value* output : node->outputs()) hash.add(std::to_string(output->unique()));
    if (node->kind() != c10::prim::Constant) return;
    const auto value = jit::toIValue(node->output());
    if (!value) return;
    if (!value->isTensor()) {
      hash.add(c10::str(*value));
      return;
    }
    const at::Tensor tensor = value->toTensor().cpu().contiguous();
    hash.add(c10::str(tensor.scalar_type(), tensor.sizes()));
    hash.add(tensor.const_data_ptr(), tensor.nbytes());
  });
  for (const jit::Value* output : graph.outputs()) hash.add(std::to_string(output->unique()));
  return hash.hex();
}

// The prefix computes in channels-last. Dropout draws its numbers in the order of memory, and view() asks for one, so
// what crosses is laid out as the unsplit model would have it: as its input is.
std::vector<c10::IValue> inLayoutOf(const std::vector<at::Tensor>& inputs, std::vector<c10::IValue> values) {
  if (inputs.empty() || inputs[0].suggest_memory_format() != at::MemoryFormat::Contiguous) return values;
  for (c10::IValue& value : values) {
    if (value.isTensor() && value.toTensor().suggest_memory_format() == at::MemoryFormat::ChannelsLast) value = value.toTensor().contiguous();
  }
  return values;
}

CompileOptions prefixOptions(const EngineOptions& options) {
  CompileOptions prefix = options.prefix;
  prefix.dtype = options.dtype;
  return prefix;
}

}  // namespace

Engine::Engine(Model& model, const Split& split, const EngineOptions& options, const std::vector<at::Tensor>& example)
    : model_(model), options_(options), revision_(model.revision()) {
  if (split.prefix) {
    prefix_.emplace(split.prefix, prefixOptions(options), example);
    key_ = hashOf(*split.prefix, precisionName(options.dtype));
  }
  auto suffix = split.suffix->copy();
  if (options.foldNorms) {
    removeDimensionChecks(suffix);
    foldFixedNorms(*suffix, model.module());
    jit::EliminateDeadCode(suffix);
  }
  suffix_ = jit::Code(suffix, "suffix");
}

std::vector<c10::IValue> Engine::features(const std::vector<at::Tensor>& inputs) const {
  if (!prefix_) return {inputs.begin(), inputs.end()};
  try {
    return inLayoutOf(inputs, prefix_->run(inputs));
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    refuseForward(inputs, error);
  }
}

c10::IValue Engine::finish(const std::vector<c10::IValue>& features, at::ScalarType dtype) const {
  std::vector<c10::IValue> stack{model_.module()._ivalue()};
  stack.insert(stack.end(), features.begin(), features.end());
  Autocast autocast(model_.device(), dtype);
  try {
    return interpret(suffix_, std::move(stack)).at(0);
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    std::vector<at::Tensor> tensors;
    for (const c10::IValue& value : features) {
      if (value.isTensor()) tensors.push_back(value.toTensor());
    }
    refuseForward(tensors, error);
  }
}

}  // namespace torchgraft
