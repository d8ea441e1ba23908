#include "lora.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <sstream>
#include <unordered_set>

#include "failure.h"
#include "grafts.h"
#include "graph_paths.h"
#include "initialise.h"
#include "new_module.h"
#include "specialise.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

constexpr const char* kContainer = "LoraAdapters";
constexpr const char* kAdapter = "LoraAdapter";

// Rows and columns of a weight as a matrix.
std::pair<int64_t, int64_t> matrixSize(const at::Tensor& weight) {
  return {weight.size(0), weight.numel() / std::max<int64_t>(1, weight.size(0))};
}

// A weight that several layers share gets one adapter, which all of them read.
bool canAdapt(const jit::Module& module, jit::Graph& graph, const std::string& layer, int64_t rank) {
  const jit::Module owner = submodule(module, layer);
  if (!headAt(module, layer) || !owner.attr("weight").toTensor().is_floating_point()) return false;
  if (usesOf(graph, Paths(graph), layer).empty()) return false;
  const auto [rows, columns] = matrixSize(owner.attr("weight").toTensor());
  return rank * (rows + columns) < rows * columns;
}

std::string shapeText(const at::Tensor& tensor) {
  std::string text;
  for (const int64_t size : tensor.sizes()) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

jit::Module makeAdapter(const jit::Module& module, const std::string& layer, const AdapterRequest& request, at::Generator& generator) {
  const at::Tensor weight = attributeAt(module, weightOf(layer)).toTensor();
  const auto [rows, columns] = matrixSize(weight);
  const auto options = at::TensorOptions().dtype(weight.scalar_type()).device(weight.device());
  const at::Tensor a = at::empty({request.rank, columns}, options);
  initialiseLayer(a, at::Tensor(), generator);
  jit::Module adapter = makeModule(module, kAdapter);
  adapter.register_parameter("lora_A", a.set_requires_grad(true), false);
  adapter.register_parameter("lora_B", at::zeros({rows, request.rank}, options).set_requires_grad(true), false);
  adapter.register_attribute("layer", c10::StringType::get(), layer);
  adapter.register_attribute("scale", c10::FloatType::get(), request.scale);
  const std::string view = weight.dim() == 2 ? "" : ".view(" + shapeText(weight) + ")";
  adapter.define("def forward(self, weight):\n    return weight + torch.mul(torch.mm(self.lora_B, self.lora_A), self.scale)" + view + "\n");
  return adapter;
}

// The module must not have run.
void graft(jit::Module& module, const AdapterRequest& request) {
  const auto graph = flattenForward(module);
  std::vector<std::string> layers;
  std::unordered_set<c10::TensorImpl*> adapted;
  for (const std::string& layer : request.layers) {
    if (!canAdapt(module, *graph, layer, request.rank)) continue;
    if (adapted.insert(attributeAt(module, weightOf(layer)).toTensor().unsafeGetTensorImpl()).second) layers.push_back(layer);
  }
  if (layers.empty()) {
    throw Failure("INVALID_VALUE", "addAdapters: of the " + std::to_string(request.layers.size()) + " layers named, none is a Linear or Conv2d whose weight has more numbers than an adapter of rank " +
                                       std::to_string(request.rank) + ". Take a lower rank, or other layers.");
  }
  at::Generator generator = seededGenerator(request.seed);
  jit::Module container = makeModule(module, kContainer);
  std::vector<std::string> names;
  for (const std::string& layer : layers) {
    std::string name = layer.empty() ? "root" : layer;
    std::replace(name.begin(), name.end(), '.', '_');
    names.push_back(freeName(container, name));
    container.register_module(names.back(), makeAdapter(module, layer, request, generator));
  }
  const std::string name = freeName(module, "lora");
  module.register_module(name, container);
  for (size_t i = 0; i < layers.size(); ++i) wrapReads(*graph, module, weightOf(layers[i]), name + "." + names[i]);
}

// The module must not have run.
void ungraft(jit::Module& module) {
  const auto graph = flattenForward(module);
  std::vector<jit::Node*> sums;
  eachNode(graph->block(), [&](jit::Node* node) {
    if (isLowRankSum(node)) sums.push_back(node);
  });
  for (jit::Node* sum : sums) sum->output()->replaceAllUsesWith(sum->input(0));
  jit::EliminateDeadCode(graph);
  at::NoGradGuard guard;
  std::vector<std::string> containers;
  for (const Adapter& adapter : adaptersOf(module)) {
    const at::Tensor weight = attributeAt(module, weightOf(adapter.layer)).toTensor();
    const at::Tensor a = attributeAt(module, adapter.path + ".lora_A").toTensor();
    const at::Tensor b = attributeAt(module, adapter.path + ".lora_B").toTensor();
    at::Tensor(weight.detach()).add_(at::mm(b, a).mul(adapter.scale).view(weight.sizes()));
    if (containers.empty() || containers.back() != parentOf(adapter.path)) containers.push_back(parentOf(adapter.path));
  }
  for (const std::string& name : containers) {
    module._ivalue()->unsafeRemoveAttr(name);
    module.type()->unsafeRemoveAttribute(name);
  }
}

// Executors do not see a changed graph, so the module is changed as a copy that has not run, and is copied again.
template <class Change>
void rebuild(Model& model, const Change& change) {
  const jit::Module original = model.module();
  std::vector<std::string> learned = model.trainable();
  const bool trainBatchNorm = model.trainsBatchNorm();
  try {
    jit::Module module = model.copy();
    change(module);
    model.adopt(module);
    model.adopt(model.copy());
  } catch (...) {
    model.adopt(original);
    model.setTrainable(learned, trainBatchNorm);
    throw;
  }
  std::unordered_map<std::string, at::Tensor> known(model.parameters().begin(), model.parameters().end());
  learned.erase(std::remove_if(learned.begin(), learned.end(), [&](const std::string& name) { return known.count(name) == 0; }), learned.end());
  for (const Adapter& adapter : adaptersOf(model.module())) {
    learned.push_back(adapter.path + ".lora_A");
    learned.push_back(adapter.path + ".lora_B");
  }
  model.setTrainable(learned, trainBatchNorm);
}

}  // namespace

std::vector<Adapter> adaptersOf(const jit::Module& module) {
  std::vector<Adapter> adapters;
  for (const auto& outer : module.named_children()) {
    if (!isMadeAs(*outer.value.type(), kContainer)) continue;
    for (const auto& inner : outer.value.named_children()) {
      adapters.push_back({inner.value.attr("layer").toStringRef(), inner.value.attr("lora_A").toTensor().size(0), inner.value.attr("scale").toDouble(),
                          outer.name + "." + inner.name});
    }
  }
  return adapters;
}

namespace {

// Merging would change the other tensor too.
void refuseOverlapping(const Model& model, const AdapterRequest& request) {
  for (const std::string& layer : request.layers) {
    for (const auto& [one, other] : model.overlappingParameters()) {
      if (one != weightOf(layer) && other != weightOf(layer)) continue;
      throw Failure("INVALID_VALUE", "addAdapters: the parameters '" + one + "' and '" + other + "' share memory in different forms, so layer '" + layer +
                                         "' cannot have an adapter of its own. Leave it out of the layers.");
    }
  }
}

}  // namespace

void addAdapters(Model& model, const AdapterRequest& request) {
  model.refuseQuantised();
  if (!adaptersOf(model.module()).empty()) throw Failure("INVALID_VALUE", "addAdapters: the model has adapters already. Merge them first.");
  if (model.parameters().empty()) throw Failure("MODEL_FROZEN", "addAdapters: the model has no parameters: torch.jit.freeze made constants of them.");
  refuseOverlapping(model, request);
  rebuild(model, [&](jit::Module& module) { graft(module, request); });
}

void mergeAdapters(Model& model) {
  if (adaptersOf(model.module()).empty()) return;
  rebuild(model, ungraft);
}

void saveMerged(Model& model, const std::string& path, const ExtraFiles& extra) {
  if (adaptersOf(model.module()).empty()) {
    model.save(path, extra);
    return;
  }
  model.setTraining(false);
  std::ostringstream stream(std::ios::binary);
  model.module().save(stream);
  const auto bytes = std::make_shared<const std::string>(std::move(stream).str());
  Model merged = Model::load(archive::ByteSource::of(bytes), path, model.device(), /*safe=*/false);
  mergeAdapters(merged);
  merged.save(path, extra);
}

}  // namespace torchgraft
