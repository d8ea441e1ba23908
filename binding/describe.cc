#include "describe.h"

#include <unordered_set>

#include "graph_paths.h"
#include "input_channels.h"
#include "precision.h"
#include "requests.h"

namespace torchgraft {

namespace {

TensorDescription describeTensor(const std::string& name, const at::Tensor& tensor) {
  TensorDescription description;
  description.name = name;
  description.shape = tensor.sizes().vec();
  description.dtype = dtypeName(tensor.scalar_type());
  return description;
}

// Modules that own parameters, in forward order; those that forward never uses come last.
std::vector<std::string> layersOf(const Model& model) {
  std::vector<std::string> owners;
  for (const std::string& name : model.parameterNames()) {
    const std::string owner = parentOf(name);
    if (owners.empty() || owners.back() != owner) owners.push_back(owner);
  }
  std::unordered_set<std::string> known(owners.begin(), owners.end());
  std::vector<std::string> layers;
  for (const std::string& module : model.facts().sequence) {
    if (known.erase(module) > 0) layers.push_back(module);
  }
  for (const std::string& owner : owners) {
    if (known.erase(owner) > 0) layers.push_back(owner);
  }
  return layers;
}

Napi::Array writeTensors(Napi::Env env, const std::vector<TensorDescription>& tensors, bool parameters) {
  auto array = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const TensorDescription& tensor = tensors[i];
    auto object = Napi::Object::New(env);
    auto shape = Napi::Array::New(env, tensor.shape.size());
    for (uint32_t k = 0; k < tensor.shape.size(); ++k) shape.Set(k, static_cast<double>(tensor.shape[k]));
    object.Set("name", tensor.name);
    object.Set("shape", shape);
    object.Set("dtype", tensor.dtype);
    if (parameters) {
      object.Set("otherNames", writeStrings(env, tensor.otherNames));
      object.Set("trainable", tensor.trainable);
      object.Set("group", tensor.group);
    }
    array.Set(i, object);
  }
  return array;
}

Napi::Array writeHeads(Napi::Env env, const std::vector<Head>& heads) {
  auto array = Napi::Array::New(env, heads.size());
  for (uint32_t i = 0; i < heads.size(); ++i) {
    auto object = Napi::Object::New(env);
    object.Set("module", heads[i].module);
    object.Set("kind", heads[i].convolution ? "conv2d" : "linear");
    object.Set("inFeatures", static_cast<double>(heads[i].inFeatures));
    object.Set("outFeatures", static_cast<double>(heads[i].outFeatures));
    object.Set("hasBias", heads[i].hasBias);
    object.Set("output", heads[i].output);
    object.Set("cosine", heads[i].cosine);
    object.Set("pooling", heads[i].pooling.empty() ? env.Null() : Napi::Value(Napi::String::New(env, heads[i].pooling)));
    array.Set(i, object);
  }
  return array;
}

Napi::Array writeAdapters(Napi::Env env, const std::vector<Adapter>& adapters) {
  auto array = Napi::Array::New(env, adapters.size());
  for (uint32_t i = 0; i < adapters.size(); ++i) {
    auto object = Napi::Object::New(env);
    object.Set("layer", adapters[i].layer);
    object.Set("rank", static_cast<double>(adapters[i].rank));
    object.Set("scale", adapters[i].scale);
    object.Set("down", adapters[i].path + ".lora_A");
    object.Set("up", adapters[i].path + ".lora_B");
    array.Set(i, object);
  }
  return array;
}

Napi::Array writeModules(Napi::Env env, const std::vector<ModuleDescription>& modules) {
  auto array = Napi::Array::New(env, modules.size());
  for (uint32_t i = 0; i < modules.size(); ++i) {
    auto object = Napi::Object::New(env);
    object.Set("path", modules[i].path);
    object.Set("type", modules[i].type);
    object.Set("training", modules[i].training);
    array.Set(i, object);
  }
  return array;
}

Napi::Array writeInputs(Napi::Env env, const std::vector<std::pair<std::string, std::string>>& inputs) {
  auto array = Napi::Array::New(env, inputs.size());
  for (uint32_t i = 0; i < inputs.size(); ++i) {
    auto object = Napi::Object::New(env);
    object.Set("name", inputs[i].first);
    object.Set("type", inputs[i].second);
    array.Set(i, object);
  }
  return array;
}

void describeForward(const torch::jit::Module& module, Description& description) {
  const auto& schema = module.get_method("forward").function().getSchema();
  for (const auto& argument : schema.arguments()) {
    if (argument.name() == "self" || &argument == &schema.arguments().front()) continue;
    description.inputs.emplace_back(argument.name(), argument.type()->str());
  }
  if (!schema.returns().empty()) description.output = schema.returns()[0].type()->str();
}

}  // namespace

Description describeModel(Model& model, const Trainer* trainer) {
  Description description;
  for (const auto& entry : model.module().named_modules()) {
    const auto type = entry.value.type()->name();
    const bool training = entry.value.hasattr("training") && entry.value.attr("training").toBool();
    description.modules.push_back({entry.name, type ? type->name() : "Module", training});
  }
  for (const auto& [name, tensor] : model.parameters()) {
    TensorDescription parameter = describeTensor(name, tensor);
    parameter.trainable = model.isTrainable(name);
    parameter.otherNames = model.otherNamesOf(name);
    parameter.group = trainer ? trainer->groupOf(name) : -1;
    description.parameters.push_back(std::move(parameter));
  }
  for (const auto& [name, tensor] : model.buffers()) description.buffers.push_back(describeTensor(name, tensor));
  description.layers = layersOf(model);
  description.facts = model.facts();
  description.findings = model.findings();
  description.adapters = adaptersOf(model.module());
  description.inputChannels = inputChannelsOf(model.module());
  describeForward(model.module(), description);
  description.device = model.device().str();
  return description;
}

Napi::Value writeDescription(Napi::Env env, const Description& description) {
  auto object = Napi::Object::New(env);
  object.Set("modules", writeModules(env, description.modules));
  object.Set("parameters", writeTensors(env, description.parameters, true));
  object.Set("buffers", writeTensors(env, description.buffers, false));
  object.Set("layers", writeStrings(env, description.layers));
  object.Set("heads", writeHeads(env, description.facts.heads));
  object.Set("adapters", writeAdapters(env, description.adapters));
  object.Set("inputChannels", description.inputChannels > 0 ? Napi::Value(Napi::Number::New(env, static_cast<double>(description.inputChannels))) : env.Null());
  object.Set("origin", description.facts.traced ? "traced" : "scripted");
  object.Set("frozen", description.parameters.empty());
  object.Set("tracedInEval", description.facts.tracedInEval);
  object.Set("tracedInTrain", description.findings.tracedInTrain);
  object.Set("changingInEval", description.findings.changingInEval);
  object.Set("convertedFrom", writeStrings(env, description.findings.conversion.precisions));
  object.Set("moved", description.findings.conversion.moved);
  object.Set("quantised", writeStrings(env, description.findings.quantised));
  object.Set("savedInTrainMode", description.findings.savedInTrainMode);
  object.Set("savedWithoutGrad", writeStrings(env, description.findings.savedWithoutGrad));
  object.Set("batchNorms", writeStrings(env, description.findings.batchNorms));
  object.Set("foldedBatchNorm", description.findings.foldedBatchNorm);
  object.Set("inputs", writeInputs(env, description.inputs));
  object.Set("output", description.output);
  object.Set("device", description.device);
  return object;
}

}  // namespace torchgraft
