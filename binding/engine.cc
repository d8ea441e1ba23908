#include "engine.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <unordered_map>

#include "content_hash.h"
#include "fold_norm.h"
#include "forward_failure.h"
#include "graph_paths.h"
#include "precision.h"
#include "row_major.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

void addTensor(ContentHash& hash, const at::Tensor& tensor) {
  const at::Tensor plain = tensor.detach().cpu().contiguous();
  hash.add(c10::str(plain.scalar_type(), plain.sizes()));
  hash.add(plain.const_data_ptr(), plain.nbytes());
}

// What a graph computes: operations in their order, names of what is read from the module, and tensors in the graph by
// value. Values are numbered as they come, for the numbers they carry depend on what else the graph was cut out of.
class GraphHash {
 public:
  explicit GraphHash(ContentHash& hash) : hash_(hash) {}

  void add(const jit::Block* block) {
    addValues(block->inputs());
    for (const jit::Node* node : block->nodes()) {
      hash_.add(node->kind().toQualString());
      addValues(node->inputs());
      if (node->kind() == c10::prim::GetAttr) hash_.add(node->s(c10::attr::name));
      if (node->kind() == c10::prim::Constant) addConstant(node);
      for (const jit::Block* inner : node->blocks()) add(inner);
      addValues(node->outputs());
    }
    addValues(block->outputs());
  }

 private:
  void addValues(at::ArrayRef<const jit::Value*> values) {
    hash_.add(std::to_string(values.size()));
    for (const jit::Value* value : values) hash_.add(std::to_string(numbers_.emplace(value, numbers_.size()).first->second));
  }

  void addConstant(const jit::Node* node) {
    const auto value = jit::toIValue(node->output());
    if (!value) return;
    if (!value->isTensor()) {
      hash_.add(c10::str(*value));
      return;
    }
    addTensor(hash_, value->toTensor());
  }

  ContentHash& hash_;
  std::unordered_map<const jit::Value*, size_t> numbers_;
};

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
  GraphHash(hash).add(split.prefix->block());
  return hash.hex();
}

std::string planKey(const Split& split, Model& model) {
  ContentHash hash;
  hash.add(model.device().str());
  if (split.prefix) GraphHash(hash).add(split.prefix->block());
  GraphHash(hash).add(split.suffix->block());
  const Paths paths(*split.suffix);
  eachNode(split.suffix->block(), [&](const jit::Node* node) {
    const std::string* path = node->kind() == c10::prim::GetAttr ? paths.of(node->output()) : nullptr;
    const c10::IValue value = path ? attributeAt(model.module(), *path) : c10::IValue();
    if (value.isTensor()) addTensor(hash, value.toTensor());
  });
  return hash.hex();
}

Engine::Engine(Model& model, const Split& split, const EngineOptions& options)
    : model_(model), options_(options), given_(split.given), revision_(model.revision()), graph_(split.prefix) {
  auto suffix = split.suffix->copy();
  if (options.variant != "exact") {
    removeDimensionChecks(suffix);
    foldFixedNorms(*suffix, model.module());
    jit::EliminateDeadCode(suffix);
  }
  keepRowMajor(*suffix, model.module());
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
    refuseForward(inputs, error, &model_);
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
