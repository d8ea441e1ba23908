#include "adapter_content.h"

#include <unordered_map>

#include "failure.h"

namespace torchgraft {

namespace {

NewHead put(Model& model, const AdapterContent& content) {
  NewHead made;
  if (content.head) made = replaceHead(model, *content.head);
  addAdapters(model, content.adapters);
  std::unordered_map<std::string, size_t> places;
  for (size_t i = 0; i < content.adapters.layers.size(); ++i) places.emplace(content.adapters.layers[i], i);
  const auto adapters = adaptersOf(model.module());
  if (adapters.size() != places.size()) throw Failure("SHAPE_MISMATCH", "One of the layers cannot have an adapter of this rank.");
  NamedTensors values = content.values;
  for (const Adapter& adapter : adapters) {
    const size_t place = places.at(adapter.layer);
    values.emplace_back(adapter.path + ".lora_A", content.down[place]);
    values.emplace_back(adapter.path + ".lora_B", content.up[place]);
  }
  model.setValues(values);
  return made;
}

}  // namespace

NewHead putAdapters(Model& model, const AdapterContent& content) {
  const torch::jit::Module original = model.module();
  const std::vector<std::string> learned = model.trainable();
  const bool trainBatchNorm = model.trainsBatchNorm();
  try {
    // On a copy, since a head may be replaced in place.
    model.adopt(model.copy());
    model.setTrainable(learned, trainBatchNorm);
    return put(model, content);
  } catch (...) {
    model.adopt(original);
    model.setTrainable(learned, trainBatchNorm);
    throw;
  }
}

}  // namespace torchgraft
