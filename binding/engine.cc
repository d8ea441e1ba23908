#include "engine.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include "content_hash.h"
#include "fold_norm.h"
#include "graph_paths.h"
#include "precision.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// Operations and their order, names of what is read from the module, and tensors in the graph by value.
void add(ContentHash& hash, const jit::Graph& graph) {
  eachNode(graph.block(), [&](const jit::Node* node) {
    hash.add(node->kind().toQualString());
    for (const jit::Value* input : node->inputs()) hash.add(std::to_string(input->unique()));
    for (const jit::Value* output : node->outputs()) hash.add(std::to_string(output->unique()));
    if (node->kind() == c10::prim::GetAttr) hash.add(node->s(c10::attr::name));
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

}  // namespace

std::string prefixKey(const Split& split, at::ScalarType dtype) {
  if (!split.prefix) return "";
  ContentHash hash;
  hash.add(precisionName(dtype));
  add(hash, *split.prefix);
  return hash.hex();
}

std::string planKey(const Split& split, const at::Device& device) {
  ContentHash hash;
  hash.add(device.str());
  if (split.prefix) add(hash, *split.prefix);
  add(hash, *split.suffix);
  return hash.hex();
}

Engine::Engine(Model& model, const Split& split, const EngineOptions& options)
    : model_(model), options_(options), revision_(model.revision()), graph_(split.prefix) {
  auto suffix = split.suffix->copy();
  if (options.variant != "exact") {
    removeDimensionChecks(suffix);
    foldFixedNorms(*suffix, model.module());
    jit::EliminateDeadCode(suffix);
  }
  suffix_ = jit::Code(suffix, "suffix");
}

std::vector<c10::IValue> Engine::features(const std::vector<at::Tensor>& inputs) const {
  if (!graph_) return {inputs.begin(), inputs.end()};
  try {
    if (!prefix_) {
      for (auto [name, way] : compilations(model_.device(), inputs.at(0), options_.dtype)) {
        if (whole_) way.chunk = 0;
        if (name == options_.variant) prefix_.emplace(graph_, way);
      }
    }
    return inLayoutOf(inputs, prefix_.value().run(inputs));
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
